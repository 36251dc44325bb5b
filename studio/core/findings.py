"""What the data doctor can find: how grave each kind is and which steps mend it. Pure: no data, no words of a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Step = dict[str, Any]

BAD, WARN, PLAIN = "bad", "warn", "plain"


@dataclass(frozen=True)
class Kind:
    """One kind of finding: its `severity` (bad, warn, plain), and what the step that mends it does ("" where none).

    `counted` is its name among the counts of a model, where it depends on the model that is to learn.
    """

    severity: str
    does: str = ""
    counted: str = ""

    @property
    def of_model(self) -> bool:
        """Whether it depends on the model."""
        return bool(self.counted)


MODEL_FACTS = ("repo", "revision", "max_length")
KINDS: dict[str, Kind] = {
    "secret": Kind(BAD, "mask"),
    "leakage": Kind(BAD, "drop"),
    "personal_data": Kind(WARN, "mask"),
    "duplicate": Kind(WARN, "drop"),
    "near_duplicate": Kind(WARN, "drop"),
    "role_order": Kind(WARN, "mend"),
    "placeholder": Kind(WARN, "drop"),
    "refusal": Kind(WARN, "drop"),
    "boilerplate": Kind(WARN, "drop"),
    "short_answer": Kind(WARN, "drop"),
    "language_mix": Kind(WARN, "drop"),
    "mixed_types": Kind(WARN),
    "guessed_mapping": Kind(WARN),
    "control_characters": Kind(PLAIN),
    "equal_columns": Kind(PLAIN),
    "refused_by_template": Kind(BAD, "drop", "refused"),
    "nothing_learnt": Kind(BAD, "drop", "nothing_learnt"),
    "too_long": Kind(WARN, "drop", "cut"),
    "no_end_of_turn": Kind(WARN, "drop", "no_end"),
}

_ORDER = (BAD, WARN, PLAIN)


def severity(kind: str) -> str:
    """`bad`, `warn` or `plain`; of a kind that is not known, `warn`."""
    return KINDS[kind].severity if kind in KINDS else WARN


def fix(kind: str, facts: Mapping[str, Any] | None = None) -> Step | None:
    """The step that is offered by one click, or None. One that depends on the model carries which, and the length."""
    known = KINDS.get(kind)
    if known is None or not known.does:
        return None
    named = {name: facts[name] for name in MODEL_FACTS if name in facts} if known.of_model and facts else {}
    return {"do": known.does, "kind": kind, **named}


def model_key(step: Mapping[str, Any]) -> str:
    """Which model a step is about, as one name."""
    return f"{step['repo']}@{step.get('revision', 'main')}"


def of_counts(counts: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a model makes of the examples, as findings. `facts` are `MODEL_FACTS`: what was counted, and how."""
    rows = counts.get("rows") or {}
    return [
        {
            "kind": kind,
            "count": int(counts[known.counted]),
            "rows": [row for row, _ in rows.get(kind, [])],
            "examples": [place for _, place in rows.get(kind, [])],
            "facts": dict(facts),
        }
        for kind, known in KINDS.items()
        if known.of_model and counts.get(known.counted)
    ]


def rank(kind: str) -> tuple[int, int]:
    """A key to sort by: the grave ones first, then the order of `KINDS`."""
    return _ORDER.index(severity(kind)), list(KINDS).index(kind) if kind in KINDS else len(KINDS)
