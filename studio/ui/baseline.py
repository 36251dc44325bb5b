"""What the form's settings are compared with: a preset, an earlier run, or a file. Values in, words out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.config import knobs
from studio.core.config.difference import Changed, difference, flat, nest, same
from studio.core.config.presets import NAMES, Scale, preset, presets

# What is a person's choice beside any preset: it is no change of one.
BESIDE = ("base.repo", "base.revision", "adapter.tuner", "adapter.continue_from", "method.name")
_METHODS = {"comparisons": ("dpo", "orpo"), "verdicts": ("kto",)}


@dataclass(frozen=True)
class Baseline:
    """`kind` is preset, run or file; `values` (by dotted path) are what it sets, everything else is at its default."""

    kind: str
    name: str
    values: dict[str, Any]

    def text(self) -> str:
        """For a hidden box of the page."""
        return json.dumps([self.kind, self.name, self.values])

    @property
    def way_back(self) -> str:
        """The words of the button that takes every change back."""
        return f"Back to {self.name if self.kind == 'preset' else self.name + '’s settings'}"

    def changes(self, raw: Mapping[str, Any]) -> list[Changed]:
        """What the form's config (nested by group) sets otherwise."""
        found = difference(nest(self.values), raw)
        return [one for one in found if self.kind != "preset" or one.knob.path not in BESIDE]


def read(text: Any) -> Baseline:
    """What stands in the hidden box; the plain defaults where that is nothing of ours (it may be forged)."""
    known = {knob.path for knob in knobs()}
    try:
        kind, name, values = json.loads(text)
        kept = {path: value for path, value in values.items() if path in known}
        return Baseline(str(kind), str(name)[:200], kept)
    except (TypeError, ValueError, AttributeError):
        return Baseline("preset", "the defaults", {})


def of_preset(name: str, scale: Scale) -> Baseline:
    """A preset for this model and this data."""
    return Baseline("preset", name, preset(name, scale).sets)


def of_config(kind: str, name: str, config: Mapping[str, Any]) -> Baseline:
    """An earlier run's or a file's config (nested by group); defaults are left out."""
    values = flat(config)
    return Baseline(kind, name, {k.path: values[k.path] for k in knobs() if not same(values[k.path], k.default)})


def moved(old: Baseline, new: Baseline, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that go along from one preset to another one: all that it sets, but what a person set since.

    What stands there already is left out: an answer that comes late must not undo what was chosen meanwhile.
    """
    before = {**flat({}), **old.values}
    kept = {path: value for path, value in new.values.items() if same(values[path], before[path])}
    return {path: value for path, value in kept.items() if not same(values[path], value)}


def cards(scale: Scale) -> list[tuple[str, str]]:
    """(words, name) of the presets, as choices with a second line."""
    return [(f"{one.name}\n{one.words}", one.name) for one in presets(scale)]


def why(name: str, scale: Scale) -> str:
    """Where a preset's values come from; empty for another name."""
    return preset(name, scale).why if name in NAMES else ""


def taught_by(mapping: Mapping[str, Any]) -> str:
    """What a dataset holds, by its mapping: `comparisons`, `verdicts` or `answers`."""
    if "chosen" in mapping:
        return "comparisons"
    return "verdicts" if "label" in mapping else "answers"


def fitting_method(chosen: str, mapping: Mapping[str, Any] | None) -> str:
    """The method that goes with a dataset: the chosen one where it does, else the usual one for such data."""
    if mapping is None:
        return chosen
    fitting: Sequence[str] = _METHODS.get(taught_by(mapping), ("sft",))
    return chosen if chosen in fitting else fitting[0]
