"""Packed files: what one holds is unpacked under a name of ours, never a member's, and within the limits."""

import errno
import gzip
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import zstandard

from studio.core.errors import DiskFull, Refused
from studio.core.formats import shown_name
from studio.importing.files.charset import size_words
from studio.importing.limits import Limits

_CHUNK = 1 << 20
_ENTRIES = 10_000
_NAMED = 10
_WINDOW = 2**27
_PACKED = (".zip", ".gz", ".gzip", ".tgz", ".zst", ".tar", ".7z", ".rar", ".bz2", ".xz")
_ASIDE = ("readme", "license", "licence", "copying", "changelog")
_SAVE_AGAIN = "Pack it again, or choose the file itself."
_OFFICE = (("xl/", "an Excel workbook"), ("word/", "a Word document"), ("ppt/", "a PowerPoint file"),
           ("visio/", "a Visio drawing"))  # fmt: skip


@dataclass(frozen=True)
class Unpacked:
    """What came out: where it lies, and its own name, which only says what kind of file it is."""

    path: Path
    name: str
    warnings: list[str] = field(default_factory=list)


def zip_kind(path: Path, name: str) -> str:
    """What a zip archive is by what it holds: "a zip archive", or a kind of document. Raises `Refused`."""
    with _zip(path, name) as archive:
        names = [entry.filename for entry in archive.infolist()[:_ENTRIES]]
        if "[Content_Types].xml" in names:
            return next((words for start, words in _OFFICE if any(n.startswith(start) for n in names)),
                        "an Office document")  # fmt: skip
        if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
            said = _mimetype(archive)
            if "epub" in said:
                return "an e-book"
            if "opendocument" in said:
                return "an OpenDocument " + ("sheet" if "spreadsheet" in said else "file")
        if any(n.endswith(".class") for n in names) and "META-INF/MANIFEST.MF" in names:
            return "a Java program"
    return "a zip archive"


def _mimetype(archive: zipfile.ZipFile) -> str:
    try:
        return archive.read("mimetype").decode("ascii", "replace")
    except (OSError, ValueError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return ""


def _zip(path: Path, name: str) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _damaged("zip archive", name) from error
    if len(archive.infolist()) > _ENTRIES:
        archive.close()
        raise Refused(f"{name} holds more than {_ENTRIES:,} files.", "Choose an archive with one file of rows.")
    return archive


def _damaged(what: str, name: str) -> Refused:
    return Refused(f"The {what} {name} is damaged or cut.", _SAVE_AGAIN)


def unpack(path: Path, name: str, kind: str, limits: Limits, scratch: Path) -> Unpacked:
    """The one file that a zip, gz or zst holds, in `scratch`. Raises `Refused` for bombs and where there is none."""
    scratch.mkdir(parents=True, exist_ok=True)
    out = scratch / "unpacked"
    try:
        if kind == "zip":
            return _from_zip(path, name, limits, out)
        with path.open("rb") as packed:
            size = _copy(_stream(packed, kind), out, path.stat().st_size, name, limits)
        if size < _promised(path, kind):
            raise EOFError
    except (EOFError, OSError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile, zstandard.ZstdError) as error:
        out.unlink(missing_ok=True)
        _pass_on(error, name, limits)
        raise _damaged(f"{kind} archive", name) from error
    except Refused:
        out.unlink(missing_ok=True)
        raise
    return Unpacked(out, _plain(name))


def _pass_on(error: Exception, name: str, limits: Limits) -> None:
    """Raise what the system said of the disk as sentences."""
    if isinstance(error, OSError) and error.errno in (errno.EFBIG,):
        raise _too_large(name, limits) from error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DiskFull(f"There is no room to unpack {name}.", "Free some space, then try again.") from error


def _plain(name: str) -> str:
    """The name without the ending of the archive."""
    return name[: name.rindex(".")] if name.lower().endswith(_PACKED) and "." in name else name


def _stream(packed: IO[bytes], kind: str) -> Any:
    if kind == "gz":
        return gzip.GzipFile(fileobj=packed)
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(packed, read_across_frames=True)


def _promised(path: Path, kind: str) -> int:
    """How many bytes the first frame of a zstd file says it holds: its reader does not notice that one is cut."""
    if kind != "zst":
        return 0
    with path.open("rb") as packed:
        return max(0, zstandard.frame_content_size(packed.read(18)))


def _from_zip(path: Path, name: str, limits: Limits, out: Path) -> Unpacked:
    with _zip(path, name) as archive:
        entry, aside = _member(archive.infolist(), name)
        if entry.flag_bits & 0x1:
            raise Refused(f"{name} is locked with a password.", "Unpack it, then choose the file itself.")
        with _opened(archive, entry, name) as source:
            _copy(source, out, min(entry.compress_size, path.stat().st_size), name, limits)
    warnings = [f"Not read: {', '.join(aside)}."] if aside else []
    return Unpacked(out, _shown(entry), warnings)


def _opened(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> IO[bytes]:
    try:
        return archive.open(entry)
    except NotImplementedError as error:
        raise Refused(f"{name} is packed in a way that is not known here.", "Pack it as an ordinary zip.") from error


def _shown(entry: zipfile.ZipInfo) -> str:
    """A member's name without its folders: for sentences and for its ending alone."""
    return shown_name(PurePosixPath(entry.filename.replace("\\", "/")).name)


def _member(entries: list[zipfile.ZipInfo], name: str) -> tuple[zipfile.ZipInfo, list[str]]:
    """The one file with rows, and the names of papers beside it. Raises `Refused` where there are more, or none."""
    files = [entry for entry in entries if not _ignored(entry)]
    aside = [entry for entry in files if _shown(entry).lower().startswith(_ASIDE)]
    rows = [entry for entry in files if entry not in aside] or aside
    if not rows:
        raise Refused(f"{name} holds no file.", "Choose an archive with one file of rows.")
    if len(rows) > 1:
        names = ", ".join(_shown(entry) for entry in rows[:_NAMED]) + (", …" if len(rows) > _NAMED else "")
        raise Refused(f"{name} holds {len(rows):,} files: {names}.", "Choose one of them, or pack it alone.")
    return rows[0], [_shown(entry) for entry in aside if entry is not rows[0]]


def _ignored(entry: zipfile.ZipInfo) -> bool:
    """Folders, links, and what systems put beside people's files."""
    parts = entry.filename.replace("\\", "/").split("/")
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return entry.is_dir() or link or "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] in (
        "", "Thumbs.db", "desktop.ini")  # fmt: skip


def _copy(source: Any, out: Path, packed: int, name: str, limits: Limits) -> int:
    """Unpack by pieces, and count what really comes out: what an archive says of itself is not believed."""
    size = 0
    with out.open("wb") as sink:
        while piece := source.read(_CHUNK):
            size += len(piece)
            check_ratio(size, packed, name, limits)
            sink.write(piece)
    return size


def check_ratio(size: int, packed: int, name: str, limits: Limits) -> None:
    """Raises `Refused` where `size` bytes out of `packed` ones are a bomb, or more than the limit."""
    if size > limits.packed_bytes and size > limits.ratio * max(packed, 1):
        problem = f"{name} unpacks to more than {limits.ratio:,} times its size."
        raise Refused(problem, "Choose the unpacked file.")
    if size > limits.unpacked_bytes:
        raise _too_large(name, limits)


def _too_large(name: str, limits: Limits) -> Refused:
    problem = f"{name} unpacks to more than {size_words(limits.unpacked_bytes)}."
    return Refused(problem, "Split it into smaller files.")


def unpacked_size(path: Path, name: str, limits: Limits, each: Callable[[bytes], None] | None = None) -> int:
    """How many bytes really come out of all members of a workbook, without keeping them. Raises `Refused` for a bomb.

    `each` is given every piece that comes out.
    """
    size, packed = 0, path.stat().st_size
    with _zip(path, name) as archive, path.open("rb") as raw:
        for entry in archive.infolist():
            if entry.flag_bits & 0x1:
                raise Refused(f"{name} is locked with a password.", "Save it without one.")
            for piece in _pieces(raw, entry, name):
                size += len(piece)
                check_ratio(size, packed, name, limits)
                if each is not None:
                    each(piece)
    return size


def _pieces(raw: IO[bytes], entry: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    """What a member unpacks to, whatever its header says of the size."""
    raw.seek(max(0, entry.header_offset))
    header = raw.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise _damaged("workbook", name)
    raw.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    left = entry.compress_size
    machine = zlib.decompressobj(-15) if entry.compress_type == zipfile.ZIP_DEFLATED else None
    while left > 0 and (chunk := raw.read(min(left, 1 << 16))):
        left -= len(chunk)
        if machine is None:
            yield chunk
            continue
        try:
            while chunk:
                yield machine.decompress(chunk, _CHUNK)
                chunk = machine.unconsumed_tail
        except zlib.error as error:
            raise _damaged("workbook", name) from error
