"""From rows to `data.parquet` (row, messages as JSON text, split) and a report: kept + dropped = read, with reasons."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from studio.core.artifacts import sync, write_json
from studio.core.errors import Refused
from studio.core.formats import (
    Unusable,
    check_mapping,
    clean,
    guess,
    is_chat,
    shown,
    split_column,
    split_of,
    to_messages,
)  # fmt: skip
from studio.importing.rows import Record, Source, open_source
from studio.importing.scan import parse

SCHEMA = pa.schema([("row", pa.int64()), ("messages", pa.string()), ("split", pa.string())])
_SAMPLES = 20
_AS_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode  # once, not for each row
_NAMED_ROWS = 20
_BATCH_ROWS = 1000
_BATCH_TEXT = 8 << 20

Progress = Callable[[float, str], None]


@dataclass
class _Reason:
    """Rows that fell out for one reason."""

    first: str
    count: int = 0
    rows: list[int] = field(default_factory=list)


@dataclass
class _Counts:
    """What the import saw so far."""

    read: int = 0
    kept: int = 0
    eval: int = 0
    cleaned: int = 0
    cleaned_rows: list[int] = field(default_factory=list)
    reasons: dict[str, _Reason] = field(default_factory=dict)

    def drop(self, unit: str, number: int, fault: Unusable) -> None:
        """Note a row that falls out."""
        reason = self.reasons.setdefault(fault.kind, _Reason(f"{unit} {number:,} {fault.words}."))
        reason.count += 1
        if len(reason.rows) < _NAMED_ROWS:
            reason.rows.append(number)


def look(path: Path, name: str) -> dict[str, Any]:
    """What a file holds, before anything is stored: see the keys at the end."""
    source = open_source(path, name)
    head = list(islice(_with_chats(source), _SAMPLES))
    good = [record.values for record in head if record.fault is None]
    if not source.columns:
        fault = next((_sentence(source, record) for record in head if record.fault), "")
        raise Refused(f"{name} holds no rows that can be read. {fault}".strip(), "Mend it, or choose another file.")
    found = guess(source.columns, good)
    return {
        "container": source.kind,
        "encoding": source.encoding,
        "delimiter": source.delimiter,
        "words": source.words,
        "columns": source.columns,
        "sample": [{column: shown(values.get(column)) for column in source.columns} for values in good],
        "kind": "chat" if "messages" in found.mapping else "table",
        "mapping": found.mapping,
        "certain": found.certain,
        "unused": found.unused,
        "split": split_column(source.columns) or "",
        "warnings": source.warnings,
        "faults": [_sentence(source, record) for record in head if record.fault],
    }


def _sentence(source: Source, record: Record) -> str:
    return f"{source.unit} {record.number:,} {record.fault.words}." if record.fault else ""


def _with_chats(source: Source) -> Iterator[Record]:
    """Records with each cell that holds a chat as JSON text opened."""
    for record in source.records():
        for column, cell in record.values.items():
            if isinstance(cell, str) and cell.startswith("[{"):
                record.values[column] = _opened(cell, source.name)
        yield record


def _opened(cell: str, name: str) -> Any:
    try:
        value = parse(cell, name)
    except (ValueError, RecursionError):
        return cell
    return value if is_chat(value) else cell


def bring_in(path: Path, name: str, mapping: dict[str, str], out: Path, progress: Progress) -> dict[str, Any]:
    """Write `data.parquet` and `report.json` into `out`; the report. Raises `Refused` where no row can be used."""
    source = open_source(path, name)
    chosen = check_mapping(mapping, source.columns)
    counts = _Counts()
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / ".data.parquet.part"
    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            for batch in _batches(source, chosen, counts, progress):
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=SCHEMA))
        if not counts.kept:
            raise Refused(_nothing(counts, chosen), "Map other columns, or fill them in.", field=_learnt_role(chosen))
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(out / "data.parquet")
    finally:
        temporary.unlink(missing_ok=True)
    sync(out)
    report = _report(source, chosen, counts)
    write_json(out / "report.json", report)
    return report


def _batches(
    source: Source, chosen: dict[str, str], counts: _Counts, progress: Progress
) -> Iterator[list[dict[str, Any]]]:
    """Examples in batches small enough for bounded memory; `counts` is kept up to date."""
    split, batch, size = split_column(source.columns), [], 0
    for record in _with_chats(source) if "messages" in chosen else source.records():
        counts.read += 1
        try:
            text = _example(record, chosen, counts)
        except Unusable as fault:
            counts.drop(source.unit, record.number, fault)
            continue
        part = split_of(record.values.get(split)) if split else None
        counts.kept, counts.eval = counts.kept + 1, counts.eval + (part == "eval")
        batch.append({"row": record.number, "messages": text, "split": part})
        size += len(text)
        if len(batch) >= _BATCH_ROWS or size >= _BATCH_TEXT:
            yield batch
            progress(source.share, f"{counts.read:,} rows read")
            batch, size = [], 0
    if batch:
        yield batch


def _example(record: Record, chosen: dict[str, str], counts: _Counts) -> str:
    """A row as the JSON text of its messages, cleaned. Raises `Unusable`."""
    if record.fault:
        raise record.fault
    messages = to_messages(record.values, chosen)
    cleaned = 0
    for message in messages:
        message["content"], odd = clean(message["content"])
        cleaned += odd
    if cleaned:
        counts.cleaned += cleaned
        if len(counts.cleaned_rows) < _NAMED_ROWS:
            counts.cleaned_rows.append(record.number)
    return _AS_JSON(messages).encode("utf-8", "replace").decode()


def _learnt_role(chosen: dict[str, str]) -> str:
    return "messages" if "messages" in chosen else "completion"


def _nothing(counts: _Counts, chosen: dict[str, str]) -> str:
    first = next(iter(counts.reasons.values())).first if counts.reasons else ""
    if counts.reasons and all(kind.startswith("empty:") for kind in counts.reasons):
        return f"0 of {counts.read:,} rows have text in {' and '.join(chosen.values())}."
    return f"0 of {counts.read:,} rows can be used. {first}".strip()


def _report(source: Source, chosen: dict[str, str], counts: _Counts) -> dict[str, Any]:
    warnings = list(source.warnings)
    if counts.cleaned:
        rows = ", ".join(f"{n:,}" for n in counts.cleaned_rows)
        warnings.append(f"{counts.cleaned:,} control characters were taken out (rows {rows}).")
    unused = [c for c in source.columns if c not in chosen.values() and c != split_column(source.columns)]
    return {
        "name": source.name,
        "container": source.kind,
        "encoding": source.encoding,
        "delimiter": source.delimiter,
        "words": source.words,
        "columns": source.columns,
        "mapping": chosen,
        "unused": unused,
        "read": counts.read,
        "kept": counts.kept,
        "dropped": counts.read - counts.kept,
        "reasons": [
            {"kind": kind, "first": reason.first, "count": reason.count, "rows": reason.rows}
            for kind, reason in counts.reasons.items()
        ],
        "held_out": counts.eval,
        "warnings": warnings,
    }
