"""What the data doctor can find: how grave each kind is and which steps mend it. Pure: no data, no words of a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Step = dict[str, Any]

BAD, WARN, PLAIN = "bad", "warn", "plain"


@dataclass(frozen=True)
class Kind:
    """One kind of finding: its `severity` (bad, warn, plain), what its fixes `do`, and the facts that a fix repeats.

    `of_model` is set where the finding depends on the model that is to learn.
    """

    severity: str
    does: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()
    of_model: bool = False


_MODEL = ("repo", "revision", "max_length")
KINDS: dict[str, Kind] = {
    "secret": Kind(BAD, ("mask", "drop")),
    "leakage": Kind(BAD, ("drop",)),
    "personal_data": Kind(WARN, ("mask", "drop")),
    "duplicate": Kind(WARN, ("drop",)),
    "near_duplicate": Kind(WARN, ("drop",)),
    "role_order": Kind(WARN, ("mend", "drop")),
    "placeholder": Kind(WARN, ("drop",)),
    "refusal": Kind(WARN, ("drop",)),
    "boilerplate": Kind(WARN, ("drop",)),
    "short_answer": Kind(WARN, ("drop",), ("at_most",)),
    "language_mix": Kind(WARN, ("drop",), ("keep",)),
    "mixed_types": Kind(WARN),
    "guessed_mapping": Kind(WARN),
    "control_characters": Kind(PLAIN),
    "equal_columns": Kind(PLAIN),
    "refused_by_template": Kind(BAD, ("drop",), _MODEL, of_model=True),
    "nothing_learnt": Kind(BAD, ("drop",), _MODEL, of_model=True),
    "too_long": Kind(WARN, ("drop",), _MODEL, of_model=True),
    "no_end_of_turn": Kind(WARN, ("drop",), _MODEL, of_model=True),
}

_ORDER = (BAD, WARN, PLAIN)


def severity(kind: str) -> str:
    """`bad`, `warn` or `plain`; of a kind that is not known, `warn`."""
    return KINDS[kind].severity if kind in KINDS else WARN


def fixes(kind: str, facts: Mapping[str, Any] | None = None) -> list[Step]:
    """The steps a person is offered, the best first; empty where there is nothing to do.

    A step carries the facts it needs to be done again on another file, as "at_most" of short answers.
    """
    known = KINDS.get(kind)
    if known is None:
        return []
    repeated = {name: facts[name] for name in known.repeats if facts and name in facts}
    return [{"do": does, "kind": kind, **repeated} for does in known.does]


def fix(kind: str, facts: Mapping[str, Any] | None = None) -> Step | None:
    """The step that is offered by one click, or None."""
    return next(iter(fixes(kind, facts)), None)


def rank(kind: str) -> tuple[int, int]:
    """A key to sort by: the grave ones first, then the order of `KINDS`."""
    return _ORDER.index(severity(kind)), list(KINDS).index(kind) if kind in KINDS else len(KINDS)
