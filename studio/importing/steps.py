"""What the steps of a recipe do to single examples, and the account of it: which rows, before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.core.examples import Example
from studio.core.formats import shown
from studio.importing.doctor.private import mask
from studio.importing.doctor.turns import mend_roles

NAMED_ROWS = 20
SAMPLES = 5
_PRIVATE = ("content", "tool_calls", "reasoning_content", "thinking")

Step = dict[str, Any]


@dataclass
class Effect:
    """What a step did: how many rows it changed, the first of them, and a few before and after."""

    step: Step
    count: int = 0
    rows: list[int] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def note(self, row: int, before: str, after: str) -> None:
        """Take in one row."""
        self.count += 1
        if len(self.rows) < NAMED_ROWS:
            self.rows.append(row)
        if len(self.samples) < SAMPLES:
            self.samples.append({"row": row, "before": shown(before), "after": shown(after)})

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {**self.step, "count": self.count, "rows": self.rows, "samples": self.samples}


def masked(number: int, example: Example, effect: Effect) -> Example:
    """`example` with what is private masked, in its words and in the arguments of its calls."""
    hidden = _Hidden(str(effect.step["kind"]))
    for message in (*example.messages, *(example.rejected or [])):
        message.update({name: hidden.of(message[name]) for name in _PRIVATE if message.get(name)})
    if example.text:
        example = Example([], text=hidden.of(example.text))
    if hidden.changes:
        effect.note(number, *_around(*hidden.changes[0]))
    return example


class _Hidden:
    """Masks one kind in texts, and in the texts within lists and objects; keeps what it changed."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self.changes: list[tuple[str, str]] = []

    def of(self, value: Any) -> Any:
        """`value` with all texts in it masked."""
        if isinstance(value, str):
            text, found = mask(value, self._kind)
            if found:
                self.changes.append((value, text))
            return text
        if isinstance(value, dict):
            return {key: self.of(inner) for key, inner in value.items()}
        return [self.of(inner) for inner in value] if isinstance(value, list) else value


def _around(before: str, after: str) -> tuple[str, str]:
    """The two texts from shortly before their first difference."""
    first = next((i for i, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), 0)
    start = max(0, first - 40)
    return before[start : start + 160], after[start : start + 160]


def ordered(number: int, example: Example, effect: Effect) -> Example:
    """`example` with its turns in order, where something is left to learn then."""
    messages, changed = mend_roles(example.messages)
    if not changed or not any(message["role"] == "assistant" for message in messages):
        return example
    effect.note(number, _roles(example.messages), _roles(messages))
    return Example(messages, tools=example.tools, rejected=example.rejected, label=example.label)


def _roles(messages: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(message["role"]) for message in messages)
