"""What two configs set differently, in words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.config import Knob, knobs


@dataclass(frozen=True)
class Changed:
    """One field that differs."""

    knob: Knob
    before: Any
    after: Any

    @property
    def words(self) -> str:
        """ "Learning rate 0.0002 → 0.0001"."""
        return f"{self.knob.label} {value_words(self.knob, self.before)} → {value_words(self.knob, self.after)}"


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every field by its dotted path, from a config nested by group; the default where it says nothing."""
    found = {}
    for knob in knobs():
        group, _, name = knob.path.partition(".")
        part = config.get(group)
        found[knob.path] = part.get(name, knob.default) if isinstance(part, Mapping) else knob.default
    return found


def nest(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Dotted paths as a config nested by group."""
    raw: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        group, _, name = path.partition(".")
        raw.setdefault(group, {})[name] = value
    return raw


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Changed]:
    """The fields that differ between two configs nested by group, in the order of the form."""
    old, new = flat(before), flat(after)
    return [Changed(one, old[one.path], new[one.path]) for one in knobs() if not same(old[one.path], new[one.path])]


def same(one: Any, other: Any) -> bool:
    """Whether two values are one setting: 3 and 3.0 are, 1 and True are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def value_words(knob: Knob, value: Any) -> str:
    """A value as on the form: "0.0002", "4 bits (nf4)", "1,024 tokens", "yes"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return knob.names.get(value, value) or "empty"
    if value is None:
        return "empty"
    words = f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else f"{value:,}"
    return f"{words} {knob.unit}" if knob.unit else words
