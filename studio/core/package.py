"""The file that `tunesmith backup` writes: a plain tar of the records, the datasets and the runs, and its manifest.

The manifest stands last and names every member with its size and hash. A member is never trusted: its name is checked
against the few shapes that we write, and it is unpacked by our own code to a place of our own making.
"""

import hashlib
import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from studio.core.artifacts import is_id
from studio.core.errors import Refused

FORMAT = 1
DATABASE, MANIFEST = "tunesmith.db", "manifest.json"
FOLDERS = ("datasets", "runs")
LEFT_OUT = ("run.lock",)
MANIFEST_BYTES = 256 * 1024**2
PIECE = 1024**2


class Packer:
    """One archive in the making: what was put in, and what had vanished when its turn came."""

    def __init__(self, out: BinaryIO) -> None:
        """Writes to `out` from where it stands."""
        self._tar = tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT)
        self.files: dict[str, dict[str, Any]] = {}
        self.left_out: list[str] = []

    def add(self, name: str, path: Path) -> None:
        """The file `path` as the member `name`, hashed while it is read."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            self.left_out.append(name)
            return
        with os.fdopen(handle, "rb") as source:
            facts = os.fstat(source.fileno())
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = facts.st_size, int(facts.st_mtime), 0o600
            reader = _Hashing(source)
            self._tar.addfile(info, reader)  # type: ignore[arg-type]
        self.files[name] = {"size": facts.st_size, "sha256": reader.sha256.hexdigest()}

    def add_folder(self, name: str, folder: Path) -> None:
        """Every file below `folder`, but for links, locks and what is still being written."""
        for path in _files(folder):
            self.add(f"{name}/{path.relative_to(folder).as_posix()}", path)

    def close(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Add the manifest, of `facts` and the members, and end the archive. The manifest."""
        whole = {"format": FORMAT, "made_at": time.time(), **facts, "left_out": self.left_out, "files": self.files}
        data = json.dumps(whole, indent=1, allow_nan=False).encode()
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mtime, info.mode = len(data), int(time.time()), 0o600
        self._tar.addfile(info, io.BytesIO(data))
        self._tar.close()
        return whole


class _Hashing:
    """A file that hashes what is read from it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As of any file."""
        piece = self._source.read(size)
        self.sha256.update(piece)
        return piece


def _files(folder: Path) -> Iterator[Path]:
    """Regular files, in the order of their names; folders that vanish meanwhile are passed over."""
    for place, inner, names in os.walk(folder):
        inner.sort()
        inner[:] = [name for name in inner if not name.endswith(".part")]
        for name in sorted(names):
            path = Path(place, name)
            if name in LEFT_OUT or name.endswith(".part") or not _is_plain(path):
                continue
            yield path


def _is_plain(path: Path) -> bool:
    """Whether it is a regular file; one that has just vanished counts, so that it is named."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True


def examine(tar: tarfile.TarFile) -> dict[str, Any]:
    """The manifest, where the members are exactly those that it names, each of a shape that we write.

    Raises Refused, TarError or OSError; nothing is unpacked.
    """
    members = {}
    for info in tar:
        if info.name in members or not _is_ours(info):
            raise Refused(f"The backup holds something foreign: {_shown(info.name)}.", "Choose another one.")
        members[info.name] = info
    manifest = _manifest(tar, members.pop(MANIFEST, None))
    if manifest["format"] != FORMAT:
        raise Refused("The backup was written by a newer Tunesmith.", "Install that version.")
    files = manifest["files"]
    if set(files) != set(members) or DATABASE not in files:
        raise Refused("The backup's members are not those of its manifest.", "Choose another one.")
    for name, info in members.items():
        if info.size != files[name]["size"]:
            raise Refused(f"The backup is damaged at {_shown(name)}.", "Choose another one.")
    return manifest


def _is_ours(info: tarfile.TarInfo) -> bool:
    """A plain file with one of our names: no link, no device, no absolute name, no way upwards."""
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        return False
    if info.name in (DATABASE, MANIFEST):
        return True
    parts = info.name.split("/")
    plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
    return plain and len(parts) > 2 and parts[0] in FOLDERS and is_id(parts[1])


def _manifest(tar: tarfile.TarFile, info: tarfile.TarInfo | None) -> dict[str, Any]:
    broken = Refused("The backup has no manifest that can be read.", "Choose another one.")
    if info is None or info.size > MANIFEST_BYTES:
        raise broken
    try:
        found = json.loads(_member(tar, info).read())
        facts = [found[name] for name in ("format", "tunesmith", "schema", "made_at", "artifacts")]
        sizes = [(int(fact["size"]), str(fact["sha256"])) for fact in found["files"].values()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise broken from error
    if None in facts[:1] or any(size < 0 for size, _ in sizes):
        raise broken
    return dict(found)


def unpack(tar: tarfile.TarFile, files: dict[str, dict[str, Any]], folder: Path) -> None:
    """The members below `folder`, durable, each with the size and hash of the manifest.

    Raises Refused at the first that is damaged. `examine` has passed: no name leads out of `folder`.
    """
    for name, fact in files.items():
        path = folder / PurePosixPath(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _write(_member(tar, tar.getmember(name)), path) != fact["sha256"]:
            raise Refused(f"The backup is damaged at {_shown(name)}.", "Choose another one.")


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Any:
    source = tar.extractfile(info)
    if source is None:
        raise Refused("The backup is damaged.", "Choose another one.")
    return source


def _write(source: Any, path: Path) -> str:
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while piece := source.read(PIECE):
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _shown(name: str) -> str:
    """A member's name for a sentence: its last part, short and on one line."""
    return ascii(name.rpartition("/")[2][:60])
