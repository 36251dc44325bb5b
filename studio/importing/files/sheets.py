"""Excel workbooks: the first sheet with rows, values as they are shown."""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from studio.core.errors import Refused
from studio.core.formats import shown_name
from studio.importing.files.packed import unpacked_size
from studio.importing.files.record import Record, told_apart
from studio.importing.limits import Limits

_CELL = re.compile(rb'<(?:\w+:)?c [^>]{0,200}?\br="([A-Z]{1,3})(\d{1,7})"[^>]{0,200}(?<!/)>')
_OVERLAP = 300
_CELL_BYTES = 64
_EXACT = 2**53
_SAVE_AGAIN = "Save it again, or save the sheet as CSV."


class Sheet:
    """Reads one sheet of a workbook, which the library holds in memory."""

    def __init__(self, path: Path, name: str, limits: Limits, wish: str = "") -> None:
        """`wish`: the sheet a person asks for. Raises `Refused` for bombs, damage, and where there is no row."""
        self._name, self._read, self._first = name, 0, 0
        self.odd: dict[str, str] = {}
        extent = _Extent()
        unpacked_size(path, name, limits, extent.take)
        if extent.cells * _CELL_BYTES > limits.memory_bytes:
            raise Refused(f"A sheet of {name} spans {extent.rows:,} rows and {extent.columns:,} columns.",
                          "Delete the cells far from the others.")  # fmt: skip
        try:
            workbook = CalamineWorkbook.from_path(str(path))
            names = list(workbook.sheet_names)
            self.sheet, self._rows = self._chosen(workbook, names, wish)
        except (CalamineError, OSError, ValueError, IndexError) as error:
            raise Refused(f"The workbook {name} is damaged.", _SAVE_AGAIN) from error
        header = self._header()
        self.columns, self.warnings = told_apart(header, name)
        others = [shown_name(other) for other in names if other != self.sheet]
        if others:
            said = ", ".join(others[:10]) + (", …" if len(others) > 10 else "")
            self.warnings.append(f"Only the sheet {shown_name(self.sheet)} is read. The others: {said}.")

    def _chosen(self, workbook: CalamineWorkbook, names: list[str], wish: str) -> tuple[str, list[list[Any]]]:
        if wish and wish not in names:
            said = ", ".join(shown_name(one) for one in names[:10])
            raise Refused(f"There is no such sheet. The workbook has: {said}.", "Choose one of them.", field="sheet")
        filled = ""
        for one in [wish] if wish else names:
            rows = workbook.get_sheet_by_name(one).to_python(skip_empty_area=True)
            several = [row for row in rows if any(cell != "" for cell in row)]
            if len(several) > 1:
                return one, rows
            filled = filled or (one if several else "")
        if filled:
            raise Refused(f"{self._name} has column names but no rows.", "Add rows beneath them.")
        raise Refused("This file is empty.", "Choose a file with rows.")

    def _header(self) -> list[str]:
        """The names in the first row that holds any; `_first` is where the rows begin."""
        at = next(place for place, row in enumerate(self._rows) if any(cell != "" for cell in row))
        self._first = at + 1
        header = [_shown(cell) for cell in self._rows[at]]
        widest = max(max((i for i, cell in enumerate(row, 1) if cell != ""), default=0) for row in self._rows)
        return header[:widest]

    @property
    def share(self) -> float:
        """How much has been read, 0 to 1."""
        return self._read / max(1, len(self._rows))

    def records(self) -> Iterator[Record]:
        """All rows in order; empty ones count and are not read."""
        for number, row in enumerate(self._rows[self._first :], 1):
            self._read = self._first + number
            if any(cell != "" for cell in row):
                yield Record(number, dict(zip(self.columns, map(_shown, row), strict=False)))


def _shown(cell: Any) -> str:
    """A cell as text: whole numbers without a point, dates as 2024-05-01."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


class _Extent:
    """How far apart the cells of a sheet lie: two cells in far corners would be held as a full rectangle."""

    def __init__(self) -> None:
        self._tail = b""
        self.rows = self.columns = 0

    @property
    def cells(self) -> int:
        """How many cells the rectangle around all of them has."""
        return self.rows * self.columns

    def take(self, piece: bytes) -> None:
        """The next bytes of the workbook's parts."""
        for letters, row in _CELL.findall(self._tail + piece):
            column = 0
            for letter in letters:
                column = column * 26 + letter - 64
            self.rows, self.columns = max(self.rows, int(row)), max(self.columns, column)
        self._tail = piece[-_OVERLAP:]
