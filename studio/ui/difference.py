"""Before and after, as two short lines: what was changed stands in both with a few words around it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from studio.ui.markup import NOTHING, Markup, join

AROUND = 28
LONGEST = 140
MOST_LINES = 3


def changed_part(before: str, after: str) -> tuple[str, str]:
    """Both texts cut to where they differ, with some words around; "…" stands for what is left out."""
    most = min(len(before), len(after))
    head = next((i for i in range(most) if before[i] != after[i]), most)
    tail = next((i for i in range(most - head) if before[-1 - i] != after[-1 - i]), most - head)
    start, end = max(0, head - AROUND), max(0, tail - AROUND)
    return _cut(before, start, len(before) - end), _cut(after, start, len(after) - end)


def _cut(text: str, start: int, end: int) -> str:
    space = text.find(" ", start, start + AROUND // 2) if start else -1
    start = space + 1 if space >= 0 else start  # a whole word first
    part = text[start:end]
    if len(part) > LONGEST:
        part, end = part[: LONGEST - 1], start + LONGEST - 1
    return ("…" if start else "") + part.replace("\n", "↵") + ("…" if end < len(text) else "")


def difference(samples: Iterable[Mapping[str, Any]], unit: str = "Row") -> Markup:
    """The lines of a few rows; a row that was left out has no second line."""
    parts = []
    for sample in list(samples)[:MOST_LINES]:
        before, after = str(sample.get("before") or ""), str(sample.get("after") or "")
        old, new = changed_part(before, after) if after else (_cut(before, 0, len(before)), "")
        row = f"{unit} {sample['row']:,}, " if isinstance(sample.get("row"), int) else ""
        gone = Markup('<del><span class="ts-unseen">{}before: </span>{}</del>').format(row, old) if old else NOTHING
        come = Markup('<ins><span class="ts-unseen">after: </span>{}</ins>').format(new) if new else NOTHING
        parts.append(Markup("<span>{}{}</span>").format(gone, come))
    return Markup('<p class="ts-diff">{}</p>').format(join(parts)) if parts else NOTHING
