"""What a file is and what its columns mean. Pure: bytes and values in, decisions out.

A mapping is `{role: column}` with the roles of `ROLES`; which go together is said by `check_mapping`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.errors import Refused

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(
        ("eval", "evaluation", "test", "testing", "validation", "valid", "val", "dev", "heldout"), "eval"
    ),
}  # fmt: skip

_VERDICTS = {
    **dict.fromkeys(("true", "yes", "y", "1", "10", "good", "up", "thumbsup", "like", "liked", "positive", "desirable",
                     "accepted", "chosen", "right", "correct", "ja", "oui", "si"), True),
    **dict.fromkeys(("false", "no", "n", "0", "00", "bad", "down", "thumbsdown", "dislike", "disliked", "negative",
                     "undesirable", "rejected", "wrong", "incorrect", "nein", "non"), False),
}  # fmt: skip
WORDS = {
    "messages": "a chat", "tools": "the tools", "prompt": "asked", "input": "asked besides", "completion": "learnt",
    "system": "said first", "history": "said earlier", "chosen": "preferred", "rejected": "not preferred",
    "label": "the verdict", "text": "read",
}  # fmt: skip
ROLES = tuple(WORDS)
# By the role that tells what a file is: the roles that it can not do without, and those that may stand beside them.
NEEDED = {
    "text": ("text",), "messages": ("messages",), "chosen": ("chosen", "rejected"),
    "completion": ("prompt", "completion"),
}  # fmt: skip
ALLOWED: dict[str, tuple[str, ...]] = {
    "text": (), "messages": ("tools", "system"), "chosen": ("prompt", "system", "tools"),
    "completion": ("input", "system", "history", "label", "tools"),
}  # fmt: skip

Mapped = Mapping[str, str]


class Unusable(Exception):
    """A row that can not be an example. `kind` groups equal reasons; `words` go on after "Row 12"."""

    def __init__(self, kind: str, words: str) -> None:
        """`words` begins with a verb: "has no text in answer"."""
        super().__init__(words)
        self.kind = kind
        self.words = words


def clean(text: str) -> tuple[str, int]:
    """`text` without control characters and broken halves of characters, and how many there were."""
    if text.isprintable():
        return text, 0
    text, controls = _CONTROL.subn("", text)
    text, halves = _SURROGATE.subn("\ufffd", text)
    return text, controls + halves


def as_text(value: Any, column: str) -> str:
    """A cell as text: numbers as they were written. Raises `Unusable` for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise Unusable(f"nested:{column}", f"holds {'an object' if isinstance(value, dict) else 'a list'} in {column}")
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown_name(name: str) -> str:
    """A file's name fit for a sentence: one line, no control characters, not longer than 80 characters."""
    text = "".join(character if character.isprintable() else " " for character in name).strip() or "The file"
    return text if len(text) <= 80 else text[:79] + "…"


def shown(value: Any, limit: int = 300) -> str:
    """Any value as a short clean text for a table of samples."""
    nested = isinstance(value, dict | list)
    text = clean(json.dumps(value, ensure_ascii=False) if nested else as_text(value, ""))[0]
    return text if len(text) <= limit else text[: limit - 1] + "…"


def split_of(value: Any) -> str | None:
    """`train` or `eval` for a cell of a column called `split`; None where it says neither."""
    return _SPLITS.get(re.sub(r"[^a-z]", "", value.lower())) if isinstance(value, str) else None


def split_column(columns: Sequence[str]) -> str | None:
    """The column that says which part a row belongs to."""
    return next((column for column in columns if column.strip().lower() == "split"), None)


def is_chat(value: Any) -> bool:
    """Whether a value is a list of messages."""
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and ("role" in m or "from" in m)
                                                           for m in value)  # fmt: skip


def verdict(value: Any) -> bool | None:
    """Whether a cell says good (True) or bad (False); None where it says neither."""
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    return _VERDICTS.get(re.sub(r"[^a-z0-9]", "", value.casefold())) if isinstance(value, str) else None


def check_mapping(mapping: Mapped, columns: Sequence[str]) -> dict[str, str]:
    """`mapping` with the real columns' names and without empty parts.

    Columns are found without case and outer spaces. Raises `Refused` where one is missing, unknown or used twice.
    """
    chosen = {role: _column(role, column, columns) for role, column in mapping.items() if column}
    lead = next((role for role in ("text", "messages", "chosen") if role in chosen), "completion")
    for role in NEEDED[lead]:
        if role not in chosen:
            raise Refused(f"No column is chosen as what is {WORDS[role]}.", "Choose one.", field=role)
    chosen = {role: column for role, column in chosen.items() if role in (*NEEDED[lead], *ALLOWED[lead])}
    twice = [column for column in chosen.values() if list(chosen.values()).count(column) > 1]
    if twice:
        raise Refused(f"The column {twice[0]!r} is chosen twice.", "Choose another one for one of the two.",
                      field=list(chosen)[-1])  # fmt: skip
    return chosen


def _column(role: str, column: str, columns: Sequence[str]) -> str:
    if role not in ROLES:
        raise Refused(f"A column can not be used as {role!r}.", "Use one of: " + ", ".join(ROLES) + ".")
    same = [name for name in columns if plain_name(name) == plain_name(column)]
    found = column if column in columns else same[0] if same else None
    if found is None:
        names = ", ".join(columns[:30]) + (", …" if len(columns) > 30 else "")
        problem = f"There is no column called {column!r}. The file has: {names}."
        raise Refused(problem, "Choose one of them.", field=role)
    return found


def plain_name(name: str) -> str:
    """A column's name without case and outer spaces."""
    return name.strip().casefold()
