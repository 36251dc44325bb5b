"""Rows of the sources as examples, one after the other: mended, cleaned and masked as the steps say, or dropped."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from studio.core.conversations import opened, to_example, without_empty_turns
from studio.core.errors import Refused
from studio.core.examples import COLUMNS, Example, from_row
from studio.core.formats import Unusable, check_mapping, clean, is_chat, shown, split_column, split_of
from studio.core.recipes import Part
from studio.importing.files.sources import Record, Source, open_source
from studio.importing.limits import Limits
from studio.importing.steps import NAMED_ROWS, Effect, masked, ordered

NO_TEXT = ("holds images", "holds sound", "holds films", "holds documents", "holds binary data")
_HEAD = 20
_VERSION_BATCH = 1000
_ALL_TEXT = ("csv", "tsv", "txt")


@dataclass(frozen=True)
class Given(Part):
    """A part of the recipe, and where it lies."""

    path: Path = Path()


@dataclass(frozen=True)
class Kept:
    """An example that stays: from which part, by its place, and from which row of that."""

    part: int
    row: int
    split: str | None
    example: Example


@dataclass
class Reason:
    """Rows that fell out for one reason; `mendable` of them could be read after a mend."""

    first: str
    count: int = 0
    mendable: int = 0
    rows: list[int] = field(default_factory=list)


class Kinds:
    """Whether a column of text holds other things too: numbers, yes and no."""

    _ROLES = ("prompt", "completion", "text", "input", "system")

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self._texts: dict[str, int] = {}
        self._others: dict[str, Effect] = {}

    def see(self, record: Record, chosen: Mapping[str, str]) -> None:
        """Take in one row."""
        for role in self._ROLES:
            value = record.values.get(chosen[role]) if role in chosen else None
            if isinstance(value, str):
                self._texts[chosen[role]] = self._texts.get(chosen[role], 0) + 1
            elif isinstance(value, int | float):
                name = "yes or no" if isinstance(value, bool) else "numbers"
                effect = self._others.setdefault(chosen[role], Effect({"column": chosen[role], "holds": name}))
                effect.note(record.number, str(value), "")

    def mixed(self) -> list[Effect]:
        """The columns that hold texts and something else, with the rows of the latter."""
        return [effect for column, effect in self._others.items() if self._texts.get(column)]


class Reading:
    """All parts, read once. What happened stands in the fields afterwards."""

    def __init__(self, parts: Sequence[Given], wishes: Mapping[str, Any], limits: Limits, scratch: Path) -> None:
        """`wishes`: `mapping`, `steps`, `reading` (encoding, delimiter, ...), `seed`, as the request has them."""
        self.parts, self.limits, self.scratch = parts, limits, scratch
        self.mapping = dict(wishes.get("mapping") or {})
        self.wishes, self.seed = wishes.get("reading") or {}, int(wishes.get("seed", 0))
        self.effects = [Effect(dict(step)) for step in wishes.get("steps") or []]
        self.reasons: dict[str, Reason] = {}
        self.on_drop: Callable[[int, str], None] = lambda _row, _why: None
        self.read, self.cleaned = [0] * len(parts), Effect({"do": "clean", "kind": "control_characters"})
        self.sources: list[Source | None] = [None] * len(parts)
        self.chosen: dict[str, str] = {}
        self.head: list[dict[str, Any]] = []
        self.kinds, self.odd = Kinds(), 0
        self.place = 0

    @property
    def share(self) -> float:
        """How much was read, 0 to 1; parts count alike."""
        source = self.sources[self.place]
        return (self.place + (source.share if source else 0.0)) / len(self.parts)

    def examples(self) -> Iterator[Kept]:
        """Every example that stays. Raises `Refused` where a file can not be read or lacks a column."""
        for place, part in enumerate(self.parts):
            self.place = place
            yield from self._of_version(part) if part.kind == "version" else self._of_file(part)

    def _of_file(self, part: Given) -> Iterator[Kept]:
        source = open_source(part.path, part.name, self.limits, self.scratch, self.wishes)
        self.sources[self.place] = source
        self.chosen = check_mapping(self.mapping, source.columns)
        for role, column in self.chosen.items():
            if source.odd.get(column) in NO_TEXT:
                problem = f"Column {column!r} {source.odd[column]}; choose a text column."
                raise Refused(problem, "Map another column.", field=role)
        split = split_column(source.columns)
        for record in source.records():
            self.read[self.place] += 1
            example = self._example(source, record)
            if example is not None:
                own = split_of(record.values.get(split)) if split and not part.split else part.split
                yield Kept(self.place, record.number, own, self._treated(record.number, example))

    def _example(self, source: Source, record: Record) -> Example | None:
        """The row's example; None, noted with the reason, where it has none."""
        try:
            if record.fault:
                raise record.fault
            example = to_example(record.values, self.chosen)
            if len(self.head) < _HEAD:
                self.head.append({column: record.values.get(column) for column in self.chosen.values()})
            if source.inner not in _ALL_TEXT:
                self.kinds.see(record, self.chosen)
            return example
        except Unusable as fault:
            mended = self._mended(record)
            effect = self._effect("mend", "broken_rows")
            if mended is not None and effect is not None:
                before = record.raw or " · ".join(shown(record.values.get(c)) for c in self.chosen.values())
                after = " · ".join(shown(mended[0].get(column)) for column in self.chosen.values())
                effect.note(record.number, before, after)
                return mended[1]
            self._drop(source, record.number, fault, mended is not None)
            return None

    def _mended(self, record: Record) -> tuple[dict[str, Any], Example] | None:
        """A broken row's values and example after a mend; None where it stays broken."""
        values = record.mended
        if values is None and record.fault is None and "messages" in self.chosen:
            column = self.chosen["messages"]
            kept = without_empty_turns(record.values.get(column))
            values = {**record.values, column: kept} if kept else None
        try:
            return (values, to_example(values, self.chosen)) if values is not None else None
        except Unusable:
            return None

    def _drop(self, source: Source, number: int, fault: Unusable, mendable: bool) -> None:
        sentence = f"{source.unit} {number:,} {fault.words.removesuffix('.')}."
        reason = self.reasons.setdefault(fault.kind, Reason(sentence))
        reason.count, reason.mendable = reason.count + 1, reason.mendable + mendable
        if len(reason.rows) < NAMED_ROWS:
            reason.rows.append(number)
        self.on_drop(number, sentence)

    def _treated(self, number: int, example: Example) -> Example:
        """`example` without control characters, and as the steps change it."""
        odd = 0
        for message in (*example.messages, *(example.rejected or [])):
            message["content"], found = clean(message["content"])
            odd += found
        if example.text:
            text, odd = clean(example.text)
            example = Example([], text=text) if odd else example
        if odd:
            self.odd += odd
            self.cleaned.note(number, "", "")
        for effect in self.effects:
            if effect.step["do"] == "mask":
                example = masked(number, example, effect)
            elif (effect.step["do"], effect.step["kind"]) == ("mend", "role_order"):
                example = ordered(number, example, effect)
        return example

    def _effect(self, do: str, kind: str) -> Effect | None:
        return next((e for e in self.effects if (e.step["do"], e.step["kind"]) == (do, kind)), None)

    def _of_version(self, part: Given) -> Iterator[Kept]:
        """The examples of another version, each as often as the weight says, at most `cap` of them."""
        draw = random.Random(f"{self.seed}/{self.place}").random  # noqa: S311 (not for secrets)
        with pq.ParquetFile(part.path) as file:
            total = file.metadata.num_rows
            self.read[self.place] = total
            picked = _picked(total, part, draw)
            names = [name for name in ("row", "split", *COLUMNS) if name in file.schema_arrow.names]
            index = 0
            for batch in file.iter_batches(_VERSION_BATCH, columns=names):
                for row in batch.to_pylist():
                    for _ in range(picked.get(index, 0)):
                        kept = Kept(self.place, row["row"], part.split or row["split"], from_row(row))
                        yield Kept(kept.part, kept.row, kept.split, self._treated(kept.row, kept.example))
                    index += 1


def _picked(total: int, part: Given, draw: Any) -> dict[int, int]:
    """How often each example is taken, by its place."""
    whole = int(part.weight)
    copies = {i: n for i in range(total) if (n := whole + (draw() < part.weight - whole))}
    if part.cap is None or sum(copies.values()) <= part.cap:
        return copies
    flat = [i for i, n in copies.items() for _ in range(n)]
    order = sorted(range(len(flat)), key=lambda _: draw())[: part.cap]
    kept: dict[int, int] = {}
    for place in order:
        kept[flat[place]] = kept.get(flat[place], 0) + 1
    return kept


def first_chats(records: Iterator[Record]) -> Iterator[Record]:
    """Records with each cell that holds a chat as text opened: for the guess and the sample."""
    for record in records:
        for column, cell in record.values.items():
            if isinstance(cell, str) and cell.startswith("[{"):
                value = opened(cell)
                record.values[column] = value if is_chat(value) else cell
        yield record
