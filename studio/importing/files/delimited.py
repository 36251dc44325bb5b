"""Tables of text: CSV with any delimiter, in bounded memory."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice, tee

from studio.core.errors import Refused
from studio.core.formats import Unusable
from studio.importing.files.charset import Text
from studio.importing.files.record import RAW, Record, told_apart

_KEPT = 512
# The first line by which a spreadsheet is told the delimiter.
SAID = re.compile(r'\s*"?sep=(.)"?\s*?\n', re.IGNORECASE)


class Rows:
    """The rows of a table, blank ones left out, each with its number and how it stands in the file."""

    def __init__(self, text: io.TextIOWrapper, mark: str, limit: int) -> None:
        csv.field_size_limit(limit)
        fed, self._kept = tee(text)
        # Strict tells apart a quote that never closes; only rows with text after a closing quote pay for it.
        self._reader = csv.reader(fed, delimiter=mark, strict=True)
        self._first = self._past = self._dropped = 0
        self.number = -1

    def __iter__(self) -> Iterator[list[str] | None]:
        """Each row, the header first; None where text follows a closing quote. `number` is its own: 0 the header.

        Raises `Refused` where a quote never closes.
        """
        reader = self._reader
        while True:
            try:
                for row in reader:
                    self._first, self._past = self._past, reader.line_num
                    if row:
                        self.number += 1
                        yield row
                    if self._past - self._dropped > _KEPT:
                        self._let_go()
                return
            except csv.Error as error:
                self._fail(error)
                yield None

    def _fail(self, error: csv.Error) -> None:
        self._first, self._past = self._past, self._reader.line_num
        self.number += 1
        said = str(error)
        if "end of data" in said or "field larger" in said:
            where = f"row {self.number:,}" if self.number else "the header"
            raise Refused(f"The quote opened in {where} never closes.", "Close it, or remove it.") from error

    def _let_go(self) -> None:
        for _ in islice(self._kept, self._first - self._dropped):
            pass
        self._dropped = self._first

    def raw(self) -> str:
        """The row that was given last, as it stands in the file. To be asked once a row."""
        self._let_go()
        lines = list(islice(self._kept, self._past - self._dropped))
        self._dropped = self._past
        return "".join(lines)


class Table:
    """Reads a table of text: the first row has the columns' names."""

    def __init__(self, text: Text, name: str, delimiter: str, limit: int) -> None:
        """`limit`: the longest cell and line, in bytes. Raises `Refused` where there is no row."""
        text.check_lines(name, limit)
        self._text, self._name, self.delimiter, self._limit = text, name, delimiter, limit
        self._said = SAID.match(text.head(100)) is not None
        self.odd: dict[str, str] = {}
        with text.opened("") as stream:
            header = self._header(stream)
        self.columns, warnings = told_apart(header, name)
        self.warnings = [*text.warnings, *warnings]

    def _rows(self, stream: io.TextIOWrapper) -> Rows:
        if self._said:
            stream.readline()
        return Rows(stream, self.delimiter, self._limit)

    def _header(self, stream: io.TextIOWrapper) -> list[str]:
        rows = iter(self._rows(stream))
        header = next(rows, [])
        if header is None:
            raise Refused(f"The header of {self._name} has text after a closing quote.", "Mend its quotes.")
        if header[-1:] == [""]:
            header.pop()
        if next(rows, ()) == ():
            raise Refused(f"{self._name} has column names but no rows.", "Add rows beneath them.")
        return header

    @property
    def share(self) -> float:
        """How much has been read, 0 to 1."""
        return self._text.share

    def records(self) -> Iterator[Record]:
        """All rows in order. Raises `Refused` where a quote never closes."""
        columns, width = self.columns, len(self.columns)
        with self._text.opened("") as stream:
            rows = self._rows(stream)
            several = iter(rows)
            next(several, None)
            for row in several:
                if row is not None and len(row) > width:
                    while len(row) > width and not row[-1]:
                        row.pop()
                if row is not None and len(row) == width:
                    yield Record(rows.number, dict(zip(columns, row, strict=True)))
                else:
                    yield self._faulty(rows.number, row, rows.raw())

    def _faulty(self, number: int, row: list[str] | None, raw: str) -> Record:
        width, shown = len(self.columns), raw[:RAW].rstrip("\r\n")
        if row is None:
            cells = parted(raw.rstrip("\r\n"), self.delimiter)
            mended = dict(zip(self.columns, cells, strict=True)) if cells and len(cells) == width else None
            return Record(number, {}, Unusable("quote", "has text after a closing quote"), mended, shown)
        noun = "value" if len(row) == 1 else "values"
        fault = Unusable("ragged", f"has {len(row)} {noun}, the header has {width}")
        values, mended = dict(zip(self.columns, row, strict=False)), None
        if len(row) > width:
            mended = {**values, self.columns[-1]: self.delimiter.join(row[width - 1 :])}
        return Record(number, values, fault, mended, shown)


def parted(row: str, mark: str) -> list[str] | None:
    """The cells of a row with stray quotes: a quote closes a cell only where the delimiter or the end follows.

    None where a cell that a quote opened is never closed.
    """
    cells, at, ends = [], 0, len(row)
    while at <= ends:
        if row.startswith('"', at):
            end = at + 1
            while True:
                end = row.find('"', end)
                if end < 0:
                    return None
                if row.startswith('""', end) and end + 2 < ends and not row.startswith(mark, end + 2):
                    end += 2
                elif end + 1 == ends or row.startswith(mark, end + 1):
                    break
                else:
                    end += 1
            cells.append(row[at + 1 : end].replace('""', '"'))
            at = end + 1 + len(mark)
        else:
            end = row.find(mark, at)
            end = ends if end < 0 else end
            cells.append(row[at:end])
            at = end + len(mark)
    return cells
