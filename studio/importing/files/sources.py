"""A file of any kind, opened: what it is, and its rows one at a time in bounded memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.core.containers import binary_kind, container, is_table
from studio.core.containers import delimiter as likely_delimiter
from studio.core.errors import Refused
from studio.core.formats import clean, shown_name
from studio.importing.files.arrays import Arrays
from studio.importing.files.charset import Text, encoding_words, survey
from studio.importing.files.columnar import Columnar
from studio.importing.files.delimited import SAID, Table
from studio.importing.files.lines import Lines
from studio.importing.files.packed import Unpacked, unpack, zip_kind
from studio.importing.files.prose import Prose
from studio.importing.files.record import Reader, Record
from studio.importing.files.sheets import Sheet
from studio.importing.limits import Limits

__all__ = ["Record", "Source", "open_source"]

_HEAD = 1 << 16
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", ":": "colons", "^": "carets", "~": "tildes"}
_KINDS = {
    "a Parquet file": "parquet", "an Arrow file": "arrow", "an Arrow stream": "stream", "an Excel workbook": "xlsx",
    "a zip archive": "zip", "a gzip archive": "gz", "a zstd archive": "zst",
}  # fmt: skip
_WORDS = {
    "csv": "CSV", "tsv": "TSV", "json": "JSON", "jsonl": "JSONL", "txt": "Text", "parquet": "Parquet",
    "arrow": "Arrow", "xlsx": "Excel",
}  # fmt: skip
_TABLES = ("csv", "tsv", "tab", "psv")
_SAVED_AS = "Choose a JSONL, JSON, CSV, Parquet, Excel or text file, or save it as one."


@dataclass
class Source:
    """An opened file. `container` is what it is, `inner` what a packed one holds (else the same).

    `encoding` and `delimiter` are empty where there is none; `unit` is what a row is called in sentences.
    """

    name: str
    container: str
    inner: str
    encoding: str
    delimiter: str
    words: str
    reader: Reader
    noted: list[str]

    @property
    def columns(self) -> list[str]:
        """The columns' names; of JSON, those met so far."""
        return list(self.reader.columns)

    @property
    def warnings(self) -> list[str]:
        """What a person should know of how the file was read, as sentences."""
        return [*self.noted, *self.reader.warnings]

    @property
    def odd(self) -> dict[str, str]:
        """Of columns that hold no text: what they hold ("holds images")."""
        return self.reader.odd

    @property
    def unit(self) -> str:
        """What a row is called: Line, Row or Paragraph."""
        return {"jsonl": "Line", "txt": "Paragraph"}.get(self.inner, "Row")

    @property
    def share(self) -> float:
        """How much of the file has been read, 0 to 1."""
        return self.reader.share

    def records(self) -> Iterator[Record]:
        """All rows in order, from the start at each call. Raises `Refused` where reading can not go on."""
        return self.reader.records()


def open_source(
    path: Path, name: str, limits: Limits, scratch: Path, reading: Mapping[str, str] | None = None
) -> Source:
    """Recognise a file and its columns; `name` is what its person calls it, `scratch` a folder to unpack into.

    `reading` has a person's own wishes: `delimiter`, `encoding`, `text_as` (paragraphs or whole), `sheet`. Raises
    `Refused` where the file is empty, damaged, a bomb, of no kind that is read, or holds no rows.
    """
    wishes = {key: str(value) for key, value in (reading or {}).items() if value}
    kind = _kind(path, name)
    if kind not in ("zip", "gz", "zst"):
        return _open(path, name, name, kind, limits, wishes)
    inside: Unpacked = unpack(path, name, kind, limits, scratch)
    inner = _kind(inside.path, name)
    if inner in ("zip", "gz", "zst"):
        raise Refused(f"{name} is packed twice.", "Unpack it once, then choose what it holds.")
    source = _open(inside.path, name, inside.name, inner, limits, wishes)
    source.container, source.words = kind, f"{source.words}, packed as {kind}"
    source.noted += inside.warnings
    return source


def _kind(path: Path, name: str) -> str:
    """The container by the first bytes; empty for text. Raises `Refused` for what is never read."""
    with path.open("rb") as raw:
        head = raw.read(_HEAD)
    words = binary_kind(head)
    if head.startswith(b"PK"):
        words = zip_kind(path, name)
    if words and words not in _KINDS:
        raise Refused(f"{name} is {words}, not a table.", _SAVED_AS)
    return _KINDS.get(words, "")


def _open(path: Path, name: str, own: str, kind: str, limits: Limits, wishes: Mapping[str, str]) -> Source:
    """A file that is not packed; `own` is its name with the ending that tells something."""
    if kind in ("parquet", "arrow", "stream"):
        kept = "arrow" if kind == "stream" else kind
        return Source(name, kept, kept, "", "", _WORDS[kept], Columnar(path, name, kind, limits), [])
    if kind == "xlsx":
        sheet = Sheet(path, name, limits, wishes.get("sheet", ""))
        return Source(name, kind, kind, "", "", f"{_WORDS[kind]}, sheet {shown_name(sheet.sheet)}", sheet, [])
    text = survey(path, limits.line_bytes, wishes.get("encoding", ""))
    head = text.head()
    if not clean(head)[0].strip():
        raise Refused("This file is empty.", "Choose a file with rows.")
    kind = "table" if "delimiter" in wishes else _text_kind(head, own, wishes)
    return _open_table(text, name, head, limits, wishes) if kind == "table" else _open_text(text, name, kind, limits,
                                                                                          wishes)  # fmt: skip


def _text_kind(head: str, own: str, wishes: Mapping[str, str]) -> str:
    """table, json, jsonl or txt."""
    ending = own.lower().rpartition(".")[2] if "." in own else ""
    found = container(head, own)
    if found != "csv":
        return found
    if "text_as" in wishes:
        return "txt"
    return "table" if ending in _TABLES or SAID.match(head) or is_table(head) else "txt"


def _open_table(text: Text, name: str, head: str, limits: Limits, wishes: Mapping[str, str]) -> Source:
    said = SAID.match(head)
    mark = wishes.get("delimiter") or (said[1] if said else likely_delimiter(head))
    if len(mark) != 1 or mark in '\r\n"':
        raise Refused("A delimiter is one character.", "Choose a comma, semicolon, tab or bar.", field="delimiter")
    table = Table(text, name, mark, limits.line_bytes)
    kind = "tsv" if mark == "\t" else "csv"
    shown = _MARKS.get(mark) or (f"'{mark}'" if mark.isprintable() else "control characters")
    words = f"{_WORDS[kind]}, {shown}, {encoding_words(text.encoding)}"
    return Source(name, kind, kind, text.encoding, mark, words, table, [])


def _open_text(text: Text, name: str, kind: str, limits: Limits, wishes: Mapping[str, str]) -> Source:
    reader: Reader
    manner = ""
    if kind == "jsonl":
        reader = Lines(text, name, limits.line_bytes, limits.levels)
    elif kind == "json":
        reader = Arrays(text, name, limits.line_bytes, limits.levels)
    else:
        whole = wishes.get("text_as") == "whole"
        manner = ", as a whole" if whole else ", paragraphs"
        reader = Prose(text, name, limits.line_bytes, whole)
    words = f"{_WORDS[kind]}{manner}, {encoding_words(text.encoding)}"
    return Source(name, kind, kind, text.encoding, "", words, reader, [])
