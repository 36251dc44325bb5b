"""A small whole file made of the beginning of a large one, for the preview of data that lies far away.

The one who fetches knows nothing of formats: it brings the bytes that are named here, and asks again.
"""

import io
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.containers import container
from studio.core.errors import Refused
from studio.importing.files.scan import items

FIRST = 1 << 20
_MOST = 64 << 20
_UNPACKED = 4 << 20
_ROWS = 100
_GROUP = 32 << 20
_OF_COLUMN = 4 << 20
_KINDS = {
    "parquet": "parquet", "arrow": "arrow", "jsonl": "json", "ndjson": "json", "json": "json", "csv": "table",
    "tsv": "table", "txt": "text",
}  # fmt: skip
_NAME = re.compile(rf"\.({'|'.join(_KINDS)})(\.gz|\.zst)?\Z", re.IGNORECASE)

Ranges = list[tuple[int, int]]


def kind_of(path: str) -> str:
    """`parquet`, `arrow`, `json`, `table` or `text` by the name of a data file; empty for what is not read."""
    found = _NAME.search(path)
    kind = _KINDS[found[1].lower()] if found else ""
    return "" if found and found[2] and kind in ("parquet", "arrow") else kind


def first_rows(request: dict[str, Any]) -> dict[str, Any]:
    """Write to `out` what the file `source` of `size` bytes begins with; `{"name": ...}` is what to call it then.

    `source` has the full size with holes; `have` are its parts that are here. Where others are missing, nothing is
    written and `{"need": [[start, end], ...]}` says which. Raises `Refused` where the file is damaged.
    """
    path, out, name = Path(request["source"]), Path(request["out"]), str(request["name"])
    size, have = int(request["size"]), [(int(start), int(end)) for start, end in request["have"]]
    prefix = max((end for start, end in have if start == 0), default=0)
    kind = kind_of(name)
    if prefix >= size:
        shutil.copyfile(path, out)
        return {"name": name}
    need = _parquet(path, out, have, size, name) if kind == "parquet" else None
    if need is None:
        need = [] if _begun(kind, path, out, prefix, name) else [(prefix, min(size, 4 * prefix or FIRST))]
        if need and prefix >= _MOST:
            raise Refused(
                f"The first row of {name} is longer than can be shown before the import.", "Import it unseen."
            )
    return {"need": need} if need else {"name": re.sub(r"\.(gz|zst)\Z", "", name, flags=re.IGNORECASE)}


def _begun(kind: str, path: Path, out: Path, prefix: int, name: str) -> bool:
    """Whether the first `prefix` bytes hold a row, which then stands in `out`."""
    with path.open("rb") as source:
        data = source.read(prefix)
    return _arrow(data, out) if kind == "arrow" else _text(_unpacked(data, name), kind, out, name)


def columnar_ranges(path: Path, have: Ranges, size: int, name: str) -> Ranges:
    """The parts of a Parquet file that must be here to read its first rows: the footer, then a group of rows."""
    import pyarrow.parquet as pq

    damaged = Refused(f"The Parquet file {name} is damaged.", "Tell its owner, or choose another dataset.")
    with path.open("rb") as source:
        source.seek(max(0, size - 8))
        end = source.read(8)
    footer = size - 8 - int.from_bytes(end[:4], "little")
    if len(end) < 8 or end[4:] != b"PAR1" or footer < 4:
        raise damaged
    if not _covers(have, (footer, size)):
        return [(footer, size)]
    try:
        facts = pq.read_metadata(path)
        at = _first_group(facts)
        group = facts.row_group(at) if at is not None else None
        columns = [group.column(i) for i in range(group.num_columns)] if group else []
        whole = sum(column.total_compressed_size for column in columns) <= _GROUP
        ranges = [_of_column(column, whole) for column in columns]
    except (OSError, ValueError, OverflowError) as error:
        raise damaged from error
    if any(not 0 <= start < end <= size for start, end in ranges) or sum(e - s for s, e in ranges) > 2 * _MOST:
        raise damaged
    return ranges


def _first_group(facts: Any) -> int | None:
    return next((i for i in range(facts.num_row_groups) if facts.row_group(i).num_rows), None)


def _of_column(column: Any, whole: bool) -> tuple[int, int]:
    """Where a column's pages lie; of a large group only the first of them."""
    begins = [place for place in (column.dictionary_page_offset, column.data_page_offset) if place]
    length = column.total_compressed_size
    return min(begins), min(begins) + (length if whole else min(length, _OF_COLUMN))


def _covers(have: Ranges, wanted: tuple[int, int]) -> bool:
    return any(start <= wanted[0] and wanted[1] <= end for start, end in have)


def _parquet(path: Path, out: Path, have: Ranges, size: int, name: str) -> Ranges:
    """The parts that are missing; where none is, the first rows stand in `out`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not _covers(have, (size - 8, size)):
        return [(max(0, size - (FIRST >> 4)), size)]
    missing = [one for one in columnar_ranges(path, have, size, name) if not _covers(have, one)]
    if missing:
        return missing
    try:
        source = pq.ParquetFile(path)
        groups = [] if (at := _first_group(source.metadata)) is None else [at]
        batches = source.iter_batches(batch_size=_ROWS, row_groups=groups) if groups else iter(())
        first = next(batches, None)
        table = pa.Table.from_batches([first] if first is not None else [], schema=source.schema_arrow)
        pq.write_table(table, out)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Refused(f"The Parquet file {name} is damaged.", "Tell its owner, or choose another dataset.") from error
    return []


def _arrow(data: bytes, out: Path) -> bool:
    """The first batch of an Arrow file or stream; a file is a stream behind eight bytes."""
    import pyarrow as pa

    body = data[8:] if data.startswith(b"ARROW1") else data
    try:
        with pa.ipc.open_stream(pa.BufferReader(body)) as stream:
            batch = stream.read_next_batch().slice(0, _ROWS)
            with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, stream.schema) as writer:
                writer.write_batch(batch)
    except (OSError, StopIteration, pa.ArrowException):
        return False
    return True


def _unpacked(data: bytes, name: str) -> bytes:
    """What a packed beginning holds, 4 MB at most; a plain one as it is."""
    lowered = name.lower()
    if lowered.endswith(".gz"):
        try:
            return zlib.decompressobj(31).decompress(data, _UNPACKED)
        except zlib.error as error:
            raise Refused(f"The gzip file {name} is damaged.", "Choose another dataset.") from error
    if not lowered.endswith(".zst"):
        return data
    import pyarrow as pa

    whole = b""
    try:
        with pa.input_stream(pa.BufferReader(data), compression="zstd") as source:
            while len(whole) < _UNPACKED and (piece := source.read(1 << 16)):
                whole += piece
    except OSError as error:
        if not whole:
            raise Refused(f"The zstd file {name} is damaged.", "Choose another dataset.") from error
    return whole


def _text(data: bytes, kind: str, out: Path, name: str) -> bool:
    """Whole rows of a cut text. Cut as Latin-1, which keeps every byte as it is, unless the text says UTF-16."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    text = data.decode(encoding, errors="ignore")
    plain = re.sub(r"\.(gz|zst)\Z", "", name, flags=re.IGNORECASE)
    if kind == "json" and container(text[:FIRST], plain) == "json":
        rows = list(_whole_items(text, name))
        kept = "[" + ",\n".join(rows) + "]" if rows else ""
    else:
        kept = text[: _last_line(text, kind == "table")]
    out.write_bytes(kept.encode(encoding))
    return bool(kept.strip())


def _whole_items(text: str, name: str) -> Iterator[str]:
    """The items of a JSON list that are whole; the one at the cut is left."""
    try:
        yield from items(io.StringIO(text), name)
    except Refused as error:
        if "ends in the middle" not in error.problem and "no list" not in error.problem:
            raise


def _last_line(text: str, quoted: bool) -> int:
    """Behind the last line feed; in tables behind the last that stands outside of quotes, where one does."""
    last = place = text.rfind("\n")
    inside = quoted and text.count('"', 0, place + 1) % 2
    while inside and place > 0:
        before = text.rfind("\n", 0, place)
        inside = (inside + text.count('"', before + 1, place)) % 2
        place = before
    return (last if inside else place) + 1
