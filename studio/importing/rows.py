"""The rows of a file, one at a time: JSONL, JSON and tables, in bounded memory."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.errors import Refused
from studio.core.formats import Unusable, clean, container, delimiter
from studio.importing.charset import encoding_words, find_encoding
from studio.importing.scan import LONGEST, items, parse

_HEAD = 1 << 20
_PROBED = 200
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_UNITS = {"csv": "Row", "json": "Row", "jsonl": "Line"}


@dataclass(frozen=True)
class Record:
    """One row: its number from 1 (line in JSONL, item of an array, row after the header) and values, or its fault."""

    number: int
    values: dict[str, Any]
    fault: Unusable | None = None


@dataclass
class Source:
    """An opened file: what it is and how it is read. `warnings` are sentences."""

    path: Path
    name: str
    encoding: str
    kind: str
    delimiter: str = ""
    columns: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    size: int = 0
    raw: io.BufferedReader | None = None

    @property
    def unit(self) -> str:
        """What a row is called in sentences."""
        return _UNITS[self.kind]

    @property
    def words(self) -> str:
        """How the file was read, for people: "CSV, commas, UTF-8"."""
        parts = [{"csv": "CSV", "json": "JSON", "jsonl": "JSONL"}[self.kind], encoding_words(self.encoding)]
        return ", ".join(parts[:1] + ([_MARKS[self.delimiter]] if self.delimiter else []) + parts[1:])

    @property
    def share(self) -> float:
        """How much of the file has been read, 0 to 1."""
        return min(self.raw.tell() / self.size, 1.0) if self.raw and self.size else 0.0

    def records(self) -> Iterator[Record]:
        """All rows in order. Raises `Refused` where reading can not go on."""
        with self.path.open("rb") as raw:
            self.raw = raw
            # csv parts lines itself, so that a cell may hold one; JSON knows only the line feed.
            text = io.TextIOWrapper(raw, self.encoding, errors="replace", newline="" if self.kind == "csv" else None)
            yield from {"csv": self._table, "json": self._array, "jsonl": self._lines}[self.kind](text)
            self.raw = None

    def _lines(self, text: io.TextIOWrapper) -> Iterator[Record]:
        for number, line in enumerate(_long_lines(text, self.name), 1):
            if line.strip():
                yield self._json(number, line)

    def _array(self, text: io.TextIOWrapper) -> Iterator[Record]:
        for number, item in enumerate(items(text, self.name), 1):
            yield self._json(number, item)

    def _json(self, number: int, text: str) -> Record:
        try:
            value = parse(text, self.name)
        except (ValueError, RecursionError):
            return Record(number, {}, Unusable("not json", "is not JSON"))
        if not isinstance(value, dict):
            return Record(number, {}, Unusable("no object", "holds no named values"))
        if not "".join(value).isprintable():
            value = {clean(key)[0]: cell for key, cell in value.items()}
        return Record(number, value)

    def _table(self, text: io.TextIOWrapper) -> Iterator[Record]:
        rows = _parsed(text, self.delimiter, self.name)
        next(rows, None)  # the header
        width = len(self.columns)
        for number, row in enumerate((row for row in rows if row != []), 1):
            if isinstance(row, Unusable):
                yield Record(number, {}, row)
                continue
            while len(row) > width and not row[-1]:
                row.pop()
            fault = None
            if len(row) != width:
                noun = "value" if len(row) == 1 else "values"
                fault = Unusable("ragged", f"has {len(row)} {noun}, the header has {width}")
            yield Record(number, dict(zip(self.columns, row, strict=False)), fault)


def _long_lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    number = 0
    while line := text.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise Refused(f"Line {number:,} of {name} is longer than 50 MB.", "Split it, or check the line ends.")
        yield line


def _parsed(text: io.TextIOWrapper, mark: str, name: str) -> Iterator[list[str] | Unusable]:
    """Rows of a table, the header first; a stray quote makes its row unusable. A quote that never closes is refused."""
    csv.field_size_limit(LONGEST)
    # Strict tells apart a quote that never closes; only rows with text after a closing quote pay for it.
    reader = csv.reader(_long_lines(text, name), delimiter=mark, strict=True)
    number = 0
    while True:
        try:
            row: list[str] | Unusable = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            said = str(error)
            if "end of data" in said or "field larger" in said:
                where = f"row {number:,}" if number else "the header"
                raise Refused(f"The quote opened in {where} never closes.", "Close it, or remove it.") from error
            row = Unusable("quote", "has text after a closing quote")
        number += row != []
        yield row


def open_source(path: Path, name: str) -> Source:
    """Recognise a file and its columns. Raises `Refused` where it is empty, no text, or holds no rows."""
    encoding = find_encoding(path, name)
    with path.open("rb") as raw:
        head = io.TextIOWrapper(raw, encoding, errors="replace", newline=None).read(_HEAD)
    if not clean(head)[0].strip():
        raise Refused("This file is empty.", "Choose a file with rows.")
    kind = container(head, name)
    source = Source(path, name, encoding, kind, size=path.stat().st_size)
    if kind == "csv":
        source.delimiter = delimiter(head)
        _name_columns(source)
    else:
        seen = dict.fromkeys(key for record in islice(source.records(), _PROBED) for key in record.values)
        source.columns = list(seen)
    return source


def _name_columns(source: Source) -> None:
    """The header's names, cleaned; nameless and equal ones are told apart by their place."""
    with source.path.open("rb") as raw:
        text = io.TextIOWrapper(raw, source.encoding, errors="replace", newline="")
        rows = _parsed(text, source.delimiter, source.name)
        header = next((row for row in rows if row != []), [])
        if isinstance(header, Unusable):
            raise Refused(f"The header of {source.name} {header.words}.", "Mend its quotes.")
        if header[-1:] == [""]:
            header.pop()
        named = [clean(cell)[0].strip() for cell in header]
        if next((row for row in rows if row != []), None) is None:
            raise Refused(f"{source.name} has column names but no rows.", "Add rows beneath them.")
    for name in dict.fromkeys(cell for cell in named if cell and named.count(cell) > 1):
        count = {2: "Two"}.get(named.count(name), str(named.count(name)))
        source.warnings.append(f"{count} columns are called {name}.")
    source.columns = [
        (cell if named.count(cell) == 1 else f"{cell} (column {place})") if cell else f"column {place}"
        for place, cell in enumerate(named, 1)
    ]
