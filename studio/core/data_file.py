"""Reading `data.parquet`, in bounded memory. Files of older studios lack some columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from studio.core.errors import NotFound
from studio.core.examples import COLUMNS, Example, from_row
from studio.core.learnt import eval_rows

_BATCH = 1000


class DataFile:
    """One version's examples. Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Only the footer is read yet."""
        self._file = pq.ParquetFile(path)
        self._names = set(self._file.schema_arrow.names)

    def __enter__(self) -> "DataFile":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._file.close()

    def __len__(self) -> int:
        """How many examples."""
        return int(self._file.metadata.num_rows)

    def column(self, name: str) -> list[Any]:
        """One column (`row`, `split`, `group`, `source`); empty where the file has none of that name."""
        return self._file.read(columns=[name]).column(name).to_pylist() if name in self._names else []

    def held_out(self, share: float, seed: int) -> frozenset[int]:
        """The examples to check with, for the trainer, the panel and the statistics alike."""
        return eval_rows(self.column("split"), share, seed, self.column("group") or None)

    def rows(self, *more: str, batch: int = _BATCH) -> Iterator[list[dict[str, Any]]]:
        """Batches of rows with the columns of an example, and `more` of them."""
        names = [name for name in (*more, *COLUMNS) if name in self._names]
        for part in self._file.iter_batches(batch, columns=names):
            yield part.to_pylist()

    def examples(self) -> Iterator[Example]:
        """All examples in order."""
        for rows in self.rows():
            yield from map(from_row, rows)

    def one(self, index: int) -> tuple[dict[str, Any], Example]:
        """Row and example number `index` (from 0); only the row group that holds it is read. Raises `NotFound`."""
        left = index
        names = [name for name in ("row", "source", *COLUMNS) if name in self._names]
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if 0 <= left < rows:
                found = self._file.read_row_group(group, columns=names).slice(left, 1).to_pylist()[0]
                return found, from_row(found)
            left -= rows
        raise NotFound(f"There is no example {index + 1:,}; the dataset has {len(self):,}.", "Choose another one.")
