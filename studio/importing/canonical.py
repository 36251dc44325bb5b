"""From sources to `data.parquet` and a report: kept + dropped = read, with reasons, findings and the steps' effects."""

import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from studio.core.artifacts import sha256_file, sync, write_json
from studio.core.child import Progress
from studio.core.errors import Refused
from studio.core.examples import COLUMNS, to_row
from studio.core.findings import MODEL_FACTS, model_key
from studio.core.formats import shown, split_column
from studio.core.recipes import Part
from studio.core.recognise import format_of, guess
from studio.importing.counting import misfits
from studio.importing.doctor.doctor import Doctor, Finding
from studio.importing.examples import Given, Kept, Reading, first_chats
from studio.importing.files.sources import Record, Source, open_source
from studio.importing.limits import Limits
from studio.importing.steps import Effect

BASE = pa.schema(
    [("row", pa.int64()), ("source", pa.int16()), ("split", pa.string()), ("messages", pa.string()),
     ("text", pa.string()), ("tools", pa.string()), ("rejected", pa.string()), ("label", pa.bool_())]
)  # fmt: skip
SCHEMA = BASE.append(pa.field("group", pa.int64()))
_SAMPLES = 20
_NAMED = 1000
_BATCH_ROWS = 1000
_BATCH_TEXT = 8 << 20
_COMPARED = 2_000_000


def look(path: Path, name: str, limits: Limits, scratch: Path, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """What a file holds, before anything is stored: see the keys at the end."""
    source = open_source(path, name, limits, scratch, dict(wishes))
    head = list(islice(first_chats(source.records()), _SAMPLES))
    good = [record.values for record in head if record.fault is None]
    if not source.columns:
        fault = next((_sentence(source, record) for record in head if record.fault), "")
        raise Refused(f"{name} holds no rows that can be read. {fault}".strip(), "Mend it, or choose another file.")
    usable = [column for column in source.columns if column not in source.odd]
    found = guess(usable or source.columns, good)
    return {
        **_container(source),
        "columns": source.columns,
        "sample": [{column: shown(values.get(column)) for column in source.columns} for values in good],
        "format": found.format,
        "mapping": found.mapping,
        "certain": found.certain,
        "unused": [*found.unused, *(column for column in source.columns if column in source.odd and usable)],
        "odd": source.odd,
        "split": split_column(source.columns) or "",
        "warnings": source.warnings,
        "faults": [_sentence(source, record) for record in head if record.fault],
    }


def _sentence(source: Source, record: Record) -> str:
    return f"{source.unit} {record.number:,} {record.fault.words}." if record.fault else ""


def _container(source: Source) -> dict[str, Any]:
    names = ("container", "inner", "encoding", "delimiter", "words", "unit")
    return {name: getattr(source, name) for name in names}


def bring_in(request: Mapping[str, Any], limits: Limits, scratch: Path, progress: Progress) -> dict[str, Any]:
    """Write `data.parquet`, `dropped.jsonl` and `report.json` into `request["out"]`; the report.

    Raises `Refused` where a file can not be read, and where no row can be used unless the request says `keep_empty`.
    """
    out = Path(request["out"])
    out.mkdir(parents=True, exist_ok=True)
    build = Build(request, limits, scratch, progress)
    try:
        report = build.run(out)
    finally:
        for name in (".base.part", ".data.part", ".dropped.part"):
            (out / name).unlink(missing_ok=True)
    if not report["kept"] and not request.get("keep_empty"):
        (out / "data.parquet").unlink()
        (out / "dropped.jsonl").unlink()
        field = "completion" if "completion" in report["mapping"] else next(iter(report["mapping"]), "")
        raise Refused(report["problem"], report["remedy"], field=field)
    write_json(out / "report.json", report)
    sync(out)
    return report


class Build:
    """One pass over the sources, one over what was kept."""

    def __init__(self, request: Mapping[str, Any], limits: Limits, scratch: Path, progress: Progress) -> None:
        """`request` as `studio.importing` takes it for `import`."""
        self.parts = [_given(one) for one in request.get("parts") or [request]]
        self.reading = Reading(self.parts, request, limits, scratch)
        self.before = Path(request["before"]) if request.get("before") else None
        self.models = request.get("models") or {}
        self.progress, self.doctor = progress, Doctor()
        self.rows, self.held_out = array("q"), array("b")
        self.turns = [0, 0]

    def run(self, out: Path) -> dict[str, Any]:
        """Read, look, leave out, write; the report."""
        with (out / ".dropped.part").open("w") as lines:

            def drop(row: int, reason: str) -> None:
                lines.write(json.dumps({"row": row, "reason": reason}) + "\n")

            self.reading.on_drop = drop
            base = out / ".base.part"
            with pq.ParquetWriter(base, BASE, compression="zstd", compression_level=1) as writer:
                for batch in self._batches():
                    writer.write_batch(batch)
            self.progress(1.0, "Looking for what is worth a look")
            findings = self.doctor.finish()
            gone = self._left_out(base, findings)
            for place, why in sorted(gone.items()):
                drop(self.rows[place], why)
        keep = np.ones(len(self.rows), dtype=bool)
        keep[list(gone)] = False
        self._write(base, out, keep)
        (out / ".dropped.part").rename(out / "dropped.jsonl")
        return self._report(findings, keep, out)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        columns: dict[str, list[Any]] = {name: [] for name in BASE.names}
        size = 0
        for kept in self.reading.examples():
            size += self._take(kept, columns)
            if len(columns["row"]) >= _BATCH_ROWS or size >= _BATCH_TEXT:
                yield pa.RecordBatch.from_pydict(columns, schema=BASE)
                columns, size = {name: [] for name in BASE.names}, 0
                self.progress(self.reading.share, self._so_far())
        if columns["row"]:
            yield pa.RecordBatch.from_pydict(columns, schema=BASE)

    def _take(self, kept: Kept, columns: dict[str, list[Any]]) -> int:
        """One example into the columns and under the doctor's eye; how many characters it has."""
        row = to_row(kept.example)
        text = str(row["messages"] or row["text"])
        whole = text + (row["rejected"] or "") + (row["tools"] or "")
        self.doctor.add(kept.row, kept.split, kept.example, whole)
        self.rows.append(kept.row)
        self.held_out.append(kept.split == "eval")
        self.turns = [self.turns[0] + len(kept.example.messages), max(self.turns[1], len(kept.example.messages))]
        for column, value in zip(columns.values(), (kept.row, kept.part, kept.split, *row.values()), strict=True):
            column.append(value)
        return len(whole)

    def _so_far(self) -> str:
        """Rows read, and the first problem."""
        words, reasons = f"{sum(self.reading.read):,} rows read", list(self.reading.reasons.values())
        if not reasons:
            return words
        return f"{words}, {sum(reason.count for reason in reasons):,} can not be used. {reasons[0].first}"

    def _left_out(self, base: Path, findings: Sequence[Finding]) -> dict[int, str]:
        """The places that drop steps leave out, with the reason."""
        gone: dict[int, str] = {}
        found = {finding.kind: finding.ordinals.tolist() for finding in findings}
        of_models: dict[tuple[Any, ...], dict[str, list[int]]] = {}
        for effect in self.reading.effects:
            step = effect.step
            if step["do"] != "drop":
                continue
            if "repo" in step:
                key = tuple(step.get(name) for name in MODEL_FACTS)
                if key not in of_models:
                    of_models[key] = misfits(base, Path(self.models[model_key(step)]), step.get("max_length"))
            places = of_models[key] if "repo" in step else found
            why = f"Left out by a step: {step['kind'].replace('_', ' ')}."
            for place in places.get(step["kind"], ()):
                if place not in gone:
                    gone[place] = why
                    effect.note(self.rows[place], "", "")
            effect.samples = []
        return gone

    def _write(self, base: Path, out: Path, keep: "np.ndarray[Any, Any]") -> None:
        """`data.parquet`: what stays, each example with the number of its group."""
        groups, at = self.doctor.groups(), 0
        part = out / ".data.part"
        with pq.ParquetFile(base) as file, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
            for batch in file.iter_batches(_BATCH_ROWS * 4):
                span = slice(at, at + batch.num_rows)
                at += batch.num_rows
                table = pa.Table.from_batches([batch]).append_column(SCHEMA.field("group"), pa.array(groups[span]))
                writer.write_table(table.filter(pa.array(keep[span])))
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(out / "data.parquet")

    def _report(self, findings: Sequence[Finding], keep: "np.ndarray[Any, Any]", out: Path) -> dict[str, Any]:
        reading, first = self.reading, next((s for s in self.reading.sources if s is not None), None)
        kept, read = int(keep.sum()), sum(reading.read)
        if any(part.kind == "version" for part in self.parts):
            read = len(self.rows)  # of a mix, what was drawn
        facts = _container(first) if first else {"container": "mix", "inner": "mix", "words": "Mix", "unit": "Row"}
        columns = first.columns if first else []
        split = split_column(columns)
        shape = format_of(reading.chosen, reading.head) if first else ""
        report = {
            "name": self.parts[0].name,
            **facts,
            "format": shape,
            "columns": columns,
            "odd": first.odd if first else {},
            "mapping": reading.chosen,
            "unused": [column for column in columns if column not in reading.chosen.values() and column != split],
            "read": read,
            "kept": kept,
            "dropped": read - kept,
            "reasons": [{"kind": kind, **reason.__dict__} for kind, reason in reading.reasons.items()],
            "mendable": sum(reason.mendable for reason in reading.reasons.values()),
            "findings": [*self._noticed(first), *_found(findings, keep, self.rows)],
            "steps": [effect.as_dict() for effect in reading.effects],
            "held_out": int(np.count_nonzero(np.array(self.held_out, dtype=bool) & keep)),
            "warnings": self._warnings(first),
            "turns": {"total": self.turns[0], "average": round(self.turns[0] / max(1, len(self.rows)), 1),
                      "most": self.turns[1]},
            "sources": [self._source(place, part) for place, part in enumerate(self.parts)],
            "mixed": first is None,
        }  # fmt: skip
        if not kept:
            report.update(problem=self._nothing(), remedy="Map other columns, or fill them in.")
        if self.before is not None and kept <= _COMPARED:
            report["difference"] = difference(self.before, out / "data.parquet")
        return report

    def _source(self, place: int, part: Given) -> dict[str, Any]:
        sha256 = sha256_file(part.path)
        return {"name": part.name, "sha256": sha256, "split": part.split, "kind": part.kind, "weight": part.weight,
                "cap": part.cap, "read": self.reading.read[place]}  # fmt: skip

    def _noticed(self, source: Source | None) -> list[dict[str, Any]]:
        """What the reading itself found worth a look."""
        found = []
        cleaned = self.reading.cleaned
        if cleaned.count:
            found.append(_finding("control_characters", cleaned))
        for effect in self.reading.kinds.mixed():
            found.append({**_finding("mixed_types", effect), "facts": effect.step})
        if source is not None and any("columns are called" in words for words in source.warnings):
            found.append({"kind": "equal_columns", "count": 1, "rows": [], "examples": [], "facts": {}})
        return found

    def _warnings(self, source: Source | None) -> list[str]:
        warnings = list(source.warnings) if source else []
        cleaned = self.reading.cleaned
        if cleaned.count:
            rows = ", ".join(f"{row:,}" for row in cleaned.rows)
            warnings.append(f"{self.reading.odd:,} control characters were taken out (rows {rows}).")
        return warnings

    def _nothing(self) -> str:
        reasons, read = self.reading.reasons, sum(self.reading.read)
        if reasons and all(kind.startswith("empty:") for kind in reasons):
            return f"0 of {read:,} rows have text in {' and '.join(self.reading.chosen.values())}."
        first = next(iter(reasons.values())).first if reasons else ""
        return f"0 of {read:,} rows can be used. {first}".strip()


def _given(raw: Mapping[str, Any]) -> Given:
    named = {field.name: raw[field.name] for field in fields(Part) if field.name in raw}
    return Given(**{"file": "", **named}, path=Path(raw["source"]))


def _finding(kind: str, effect: Effect) -> dict[str, Any]:
    return {"kind": kind, "count": effect.count, "rows": effect.rows, "examples": [], "facts": {}}


def _found(findings: Sequence[Finding], keep: "np.ndarray[Any, Any]", rows: Sequence[int]) -> list[dict[str, Any]]:
    """The findings among what stays: rows of the file, and `examples`, their places (from 0) in the data."""
    places = np.cumsum(keep) - 1
    found = []
    for finding in findings:
        left = [place for place in finding.ordinals.tolist() if keep[place]]
        if left:
            named = left[:_NAMED]
            found.append({
                "kind": finding.kind, "count": len(left), "rows": [rows[place] for place in named],
                "examples": [int(places[place]) for place in named], "facts": finding.facts,
            })  # fmt: skip
    return found


def difference(before: Path, after: Path) -> dict[str, int]:
    """How many examples of two versions are the same, were added, are gone."""
    old, new = _hashes(before), _hashes(after)
    same = sum(min(count, new.get(one, 0)) for one, count in old.items())
    return {"same": same, "added": sum(new.values()) - same, "gone": sum(old.values()) - same}


def _hashes(path: Path) -> dict[int, int]:
    counts: dict[int, int] = {}
    with pq.ParquetFile(path) as file:
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH_ROWS, columns=names):
            for row in batch.to_pylist():
                one = hash(tuple(row.get(name) for name in COLUMNS))
                counts[one] = counts.get(one, 0) + 1
    return counts
