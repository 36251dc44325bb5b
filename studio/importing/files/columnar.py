"""Parquet and Arrow files, by small batches, with nested columns as values of Python."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from studio.core.errors import Refused
from studio.importing.files.packed import check_ratio
from studio.importing.files.record import Record, odd_columns, told_apart
from studio.importing.limits import Limits

_PROBED = 100
_BATCH_ROWS = 1_000
_BATCH_BYTES = 8 << 20
_BUFFER = 1 << 20
_WRONG = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError, OverflowError)
_SAVE_AGAIN = "Save it again, or choose another file."


class Columnar:
    """Reads a Parquet file, an Arrow file or an Arrow stream."""

    def __init__(self, path: Path, name: str, kind: str, limits: Limits) -> None:
        """`kind`: parquet, arrow or stream. Raises `Refused` where it is damaged, a bomb, or holds no rows."""
        self._path, self._name, self._kind, self._limits = path, name, kind, limits
        self._rows, self._read, self._share = 0, 0, 0.0
        self._schema = self._open_schema()
        deepest = max((_levels(field.type) for field in self._schema), default=0)
        if deepest > limits.levels:
            raise Refused(f"{name} is nested more than {limits.levels} levels.", "Make it flatter.")
        self.columns, self.warnings = told_apart(self._schema.names, name)
        self.odd = {column: words for column, field in zip(self.columns, self._schema, strict=True)
                    if (words := _odd_by_type(field, self._schema.metadata))}  # fmt: skip
        self._find_odd()

    @property
    def _what(self) -> str:
        return "Parquet file" if self._kind == "parquet" else "Arrow file"

    def _damaged(self, where: str) -> Refused:
        return Refused(f"The {self._what} is damaged ({where}).", _SAVE_AGAIN)

    def _open_schema(self) -> pa.Schema:
        if self._kind != "parquet":
            where = "footer unreadable" if self._kind == "arrow" else "header unreadable"
            with self._sentences(where), pa.OSFile(str(self._path)) as raw, self._reader(raw) as reader:
                return reader.schema
        self._check_footer()
        with self._sentences("footer unreadable"), pq.ParquetFile(self._path) as file:
            facts = file.metadata
            size = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
            self._rows = facts.num_rows
            check_ratio(size, self._path.stat().st_size, self._name, self._limits)
            return file.schema_arrow

    def _check_footer(self) -> None:
        with self._path.open("rb") as raw:
            raw.seek(0, 2)
            size = raw.tell()
            raw.seek(max(0, size - 8))
            end = raw.read()
        if end[-4:] == b"PARE":
            raise Refused(f"{self._name} is locked with a key.", "Save it without one.")
        if size < 12 or end[-4:] != b"PAR1":
            raise self._damaged("footer missing")
        if int.from_bytes(end[:4], "little") > size - 12:
            raise self._damaged("footer unreadable")

    @contextmanager
    def _sentences(self, where: str) -> Iterator[None]:
        """What the library says of damage, which may hold paths and parts of the file, as a sentence of ours."""
        try:
            yield
        except (Refused, MemoryError):
            raise
        except _WRONG as error:
            raise self._damaged(where) from error

    def _reader(self, raw: Any) -> Any:
        """The library's reader of an open Arrow file or stream."""
        if self._kind == "stream":
            return pa.ipc.open_stream(raw)
        raw.seek(max(0, raw.size() - 6))
        if raw.read(6) != b"ARROW1" or raw.size() < 20:
            raise self._damaged("footer missing")
        raw.seek(0)
        return pa.ipc.open_file(raw)

    def _find_odd(self) -> None:
        """Look into the first rows: at what binary, list and struct columns hold, and whether there are any."""
        rows = [record.values for record in islice(self._records(self.columns, with_bytes=True), _PROBED)]
        if not rows:
            raise Refused(f"{self._name} has column names but no rows.", "Add rows beneath them.")
        self.odd |= {column: words for column, words in odd_columns(rows).items()
                     if column not in self.odd or self.odd[column] == "holds binary data"}  # fmt: skip

    @property
    def share(self) -> float:
        """How much has been read, 0 to 1."""
        return min(self._read / self._rows, 1.0) if self._rows else self._share

    def records(self) -> Iterator[Record]:
        """All rows in order, without the columns that hold images, sound and the like. Raises `Refused` for damage."""
        dull = ("holds images", "holds sound", "holds binary data")
        wanted = [column for column in self.columns if self.odd.get(column) not in dull]
        return self._records(wanted or self.columns[:1])

    def _records(self, wanted: Sequence[str], with_bytes: bool = False) -> Iterator[Record]:
        places = [place for place, column in enumerate(self.columns) if column in set(wanted)]
        self._read = 0
        for batch in self._guarded(places):
            cells = [_values(column, with_bytes) for column in batch.columns]
            for number, row in enumerate(zip(*cells, strict=True), self._read + 1):
                yield Record(number, dict(zip(wanted, row, strict=True)))
            self._read += batch.num_rows

    def _guarded(self, places: list[int]) -> Iterator[Any]:
        """Batches with the columns at `places`; each was looked through for broken offsets and text."""
        batches = self._parquet_batches(places) if self._kind == "parquet" else self._arrow_batches(places)
        while True:
            with self._sentences(f"page of row {self._read + 1:,} unreadable"):
                batch = next(batches, None)
                if batch is None:
                    return
                for column in batch.columns:
                    column.validate()
            yield batch

    def _parquet_batches(self, places: list[int]) -> Iterator[Any]:
        with pq.ParquetFile(self._path, buffer_size=_BUFFER, pre_buffer=False, memory_map=False,
                            page_checksum_verification=True) as file:  # fmt: skip
            facts = file.metadata
            total = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
            rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * max(facts.num_rows, 1) // max(total, 1)))
            names = [self._schema.names[place] for place in places]
            whole = len(set(self._schema.names)) < len(self.columns) or any("." in name for name in names)
            for batch in file.iter_batches(rows, columns=None if whole else names, use_threads=False):
                yield batch.select(places) if whole else batch.select(names)

    def _arrow_batches(self, places: list[int]) -> Iterator[Any]:
        size = self._path.stat().st_size
        with pa.OSFile(str(self._path)) as raw, self._reader(raw) as reader:
            count = reader.num_record_batches if self._kind == "arrow" else 0
            for place, whole in enumerate((reader.get_batch(i) for i in range(count)) if count else iter(reader), 1):
                batch = whole.select(places)
                batch.validate(full=True)
                self._share = place / count if count else raw.tell() / size
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield batch.slice(start, _BATCH_ROWS)


def _levels(kind: pa.DataType) -> int:
    """How deep a type nests. The schema's own depth is limited by its format's readers."""
    deepest, todo = 0, [(kind, 1)]
    while todo:
        one, level = todo.pop()
        deepest = max(deepest, level)
        if pa.types.is_nested(one):
            todo += [(one.field(i).type, level + 1) for i in range(one.num_fields)]
    return deepest


def _odd_by_type(field: pa.Field, metadata: dict[bytes, bytes] | None) -> str:
    """What a column holds where its type, or what the Hub's library noted beside it, says that it is no text."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        noted = str(features[field.name].get("_type", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        noted = ""
    said = {"Image": "holds images", "Audio": "holds sound", "Video": "holds films", "Pdf": "holds documents"}
    if noted in said:
        return said[noted]
    kind = field.type
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return "holds binary data" if binary else ""


def _values(column: pa.Array, with_bytes: bool) -> list[Any]:
    """A column's values as JSON knows them, bytes as None unless they are asked for.

    Lists and objects are put together from their parts, which is faster than the library's own way.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    types, kind = pa.types, column.type
    if types.is_list(kind) or types.is_large_list(kind):
        return _lists(column, with_bytes)
    if types.is_struct(kind):
        return _objects(column, with_bytes)
    if types.is_string(kind) or types.is_large_string(kind):
        return _texts(column)
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, ArithmeticError):
        return [None] * len(column)  # dates beyond Python's
    if types.is_integer(kind) or types.is_boolean(kind):
        return values
    return [None if isinstance(value, bytes) and not with_bytes else _plain(value) for value in values]


def _texts(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        raw = column.view(pa.binary() if pa.types.is_string(column.type) else pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "replace") for value in raw]


def _lists(column: pa.Array, with_bytes: bool) -> list[Any]:
    ends = column.offsets.to_pylist()
    first = ends[0] if ends else 0
    inner = _values(column.values.slice(first, ends[-1] - first), with_bytes)
    made: list[Any] = [inner[start - first : end - first] for start, end in pairwise(ends)]
    return _with_gaps(column, made)


def _objects(column: pa.Array, with_bytes: bool) -> list[Any]:
    names = [column.type.field(place).name for place in range(column.type.num_fields)]
    parts = [_values(column.field(place), with_bytes) for place in range(len(names))]
    rows = zip(*parts, strict=True) if parts else iter([()] * len(column))
    return _with_gaps(column, [dict(zip(names, row, strict=True)) for row in rows])


def _with_gaps(column: pa.Array, values: list[Any]) -> list[Any]:
    if column.null_count:
        for place, there in enumerate(column.is_valid().to_pylist()):
            if not there:
                values[place] = None
    return values


def _plain(value: Any) -> Any:
    """A value as JSON knows it: dates and exact numbers as text, no number as None. Bytes stay, to be looked at."""
    if value is None or isinstance(value, str | int | float | bool | bytes):
        return value if value == value else None
    if isinstance(value, dict):
        return {str(key): _inner(inner) for key, inner in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):  # a map
            return {str(key): _inner(inner) for key, inner in value}
        return [_inner(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _inner(value: Any) -> Any:
    return None if isinstance(value, bytes) else _plain(value)
