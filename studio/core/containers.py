"""What kind of file it is, by its first bytes, and how a table parts its columns. Pure: bytes in, decisions out."""

import csv
import io
import re
from itertools import islice

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"II*\x00", "an image (TIFF)"),
    (b"MM\x00*", "an image (TIFF)"),
    (b"%PDF", "a PDF document"),
    (b"{\\rtf", "a Word document (RTF)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\xff\xff\xff\xff", "an Arrow stream"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3", "a SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"GGUF", "a model (GGUF)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x7fELF", "a program"),
    (b"ID3", "a sound file (MP3)"),
    (b"fLaC", "a sound file (FLAC)"),
    (b"OggS", "a sound file (Ogg)"),
)
_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")
_ZIPPED = (
    (b"xl/", "an Excel workbook"),
    (b"word/", "a Word document"),
    (b"ppt/", "a PowerPoint file"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "an OpenDocument sheet"),
    (b"mimetypeapplication/vnd.oasis.opendocument", "an OpenDocument file"),
    (b"mimetypeapplication/epub", "an e-book"),
)
_USUAL = ",;\t|"
_UNUSUAL = "\x1f\x01^~:§"
_LOOKED_AT, _FEWEST = 50, 2
# Without those that part the cells of some tables.
_CONTROL = re.compile(r"[\x00\x02-\x08\x0b\x0c\x0e-\x1b\x7f]")


def binary_kind(head: bytes) -> str:
    """What a file that is no text is ("an image (PNG)"), by its first bytes; empty for text."""
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head.startswith(b"RIFF"):
        return {b"WEBP": "an image (WebP)", b"WAVE": "a sound file (WAV)"}.get(head[8:12], "a media file")
    if head[4:8] == b"ftyp":
        return "a video or sound file (MP4)"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return next((words for mark, words in _ZIPPED if mark in head), "a zip archive")
    if head.startswith(_BOMS) or looks_utf16(head):
        return ""
    odd = len(_CONTROL.findall(head.decode("latin-1")))
    return "a binary file" if odd > 0.02 * len(head) + 2 else ""


def looks_utf16(head: bytes) -> str:
    """`utf-16-le` or `utf-16-be` where text without a mark has every other byte zero; else empty."""
    half = len(head) // 2
    if half < 4:
        return ""
    odd, even = head[1::2].count(0), head[0::2].count(0)
    if odd > 0.6 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.1 * half else ""


def container(head: str, name: str) -> str:
    """`jsonl`, `json` or `csv` by how the text begins; the file's name only decides what is open."""
    text, ending = head.lstrip(), name.lower().rpartition(".")[2]
    lines = [line.strip() for line in text.split("\n", 3) if line.strip()]
    if ending in ("jsonl", "ndjson"):
        whole = text.startswith("[") and not lines[0].endswith("]")  # an array under the wrong name
        return "json" if whole or lines[:1] == ["["] else "jsonl"
    if not text.startswith(("{", "[")) or (ending in ("csv", "tsv") and not _opens_json(lines[0])):
        return "csv"
    several = len(lines) > 1 and lines[1].startswith(text[0])
    if text[0] == "[":
        return "jsonl" if several and lines[0].endswith("]") else "json"
    return "jsonl" if (several and lines[0].endswith("}")) or (ending != "json" and lines[0].endswith("}")) else "json"


def _opens_json(line: str) -> bool:
    return re.match(r'\{\s*("|$)|\[\s*(\{|\[|"|$)', line) is not None


def delimiter(head: str) -> str:
    """The delimiter whose rows agree best with the header on the most columns; a comma where none parts anything.

    Unusual ones count only where no usual one parts the header, and only where all rows agree.
    """
    return _best(head, _USUAL) or _best(head, _UNUSUAL, steady=True) or ","


def _best(head: str, marks: str, steady: bool = False) -> str:
    best, found = (0.0, 0), ""
    for mark in marks:
        widths = row_widths(head, mark)
        width = widths[0] if widths else 1
        if width > 1:
            agree = sum(one == width for one in widths) / len(widths)
            if (agree, width) > best and not (steady and (agree < 1 or len(widths) < _FEWEST)):
                best, found = (agree, width), mark
    return found


def row_widths(head: str, mark: str) -> list[int]:
    """How many cells each of the first rows of a table has."""
    lines = islice(io.StringIO(head, newline=""), _LOOKED_AT)
    try:
        return [len(row) for row in csv.reader(lines, delimiter=mark) if row]
    except csv.Error:  # a cell that is longer than any is read
        return []


def is_table(head: str) -> bool:
    """Whether a text that is not called a table evidently is one: all its rows are parted like its short names."""
    mark = delimiter(head)
    widths = row_widths(head, mark)
    if len(widths) < _FEWEST or widths[0] < 2 or any(width != widths[0] for width in widths):
        return False
    lines = head.lstrip("\n").split("\n", _LOOKED_AT)
    if not all(line.strip() for line in lines[: len(widths)]):
        return False
    names = [name.strip().strip('"') for name in lines[0].split(mark)]
    words = max(len(name.split()) for name in names)
    few = 3 if mark == "\t" else 2  # prose has commas, and hardly a tab
    return words <= few and all(name and len(name) <= 40 and name[-1] not in ".!?" for name in names)
