"""A config field as a component of Gradio, and the form's values as a config.

What the field says of itself (label, help, unit, bounds) is shown as words only. Whether a value is right is decided
by `parse_config`, which also sees what a component would have rounded, or refused with a message that goes away.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import gradio as gr

from studio.core.config import Knob
from studio.core.errors import Fault

ALL_LAYERS = "all-linear"
UNITS = {"s": "seconds"}


class Choice(gr.Dropdown):
    """A dropdown whose value goes to our handlers as it is.

    Gradio's own checks it against the choices that this process sent to this tab: after a restart of the web process
    there are none. Our handlers check every value anyway, because it may be forged.
    """

    is_template = True  # drawn as a plain dropdown

    def preprocess(self, payload: Any) -> Any:
        """The value as text or number; anything else counts as nothing chosen."""
        return payload if isinstance(payload, str | int | float) else None


class Pick(gr.Radio):
    """A choice among a few that change while the page is open; its value goes to our handlers as it is."""

    is_template = True  # drawn as a plain one

    def preprocess(self, payload: Any) -> Any:
        """The value as text; anything else counts as nothing chosen. Gradio's own refuses what is gone by now."""
        return payload if isinstance(payload, str) else None


class Layers(gr.Dropdown):
    """Some of a model's layers, or all: a text with commas to the rest of the program, several picks on the page."""

    is_template = True  # drawn as a plain dropdown

    def preprocess(self, payload: Any) -> Any:
        """The picks as one text. All of them, or none, is `all-linear`; a layer picked after that replaces it."""
        names = [str(one).strip() for one in payload if str(one).strip()] if isinstance(payload, list) else []
        if not names or names[-1] == ALL_LAYERS:
            return ALL_LAYERS
        return ", ".join(name for name in names if name != ALL_LAYERS)

    def postprocess(self, value: Any) -> Any:
        """The text as picks."""
        names = value if isinstance(value, list) else str(value or "").split(",")
        return [name.strip() for name in names if name.strip()]


def layer_choices(layers: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(words, name) of the layers of a model; all of them first."""
    return [("All linear layers", ALL_LAYERS), *((name, name) for name in layers)]


def field(knob: Knob) -> Any:
    """The component that takes `knob`'s value, with its default in it."""
    words = {"label": knob.label, "info": help_of(knob)}
    kind = knob.info.annotation
    if options := getattr(kind, "__args__", ()):
        choices = [(knob.names.get(option, option), option) for option in options]
        return Choice(choices, value=knob.default, interactive=True, **words)
    if knob.path == "adapter.target_modules":
        more: dict[str, Any] = {"multiselect": True, "allow_custom_value": True, "interactive": True}
        return Layers(layer_choices(), value=[knob.default], **more, **words)
    if knob.path == "adapter.continue_from":
        return Choice([("A fresh adapter", "")], value="", interactive=True, **words)
    if kind is bool:
        return gr.Checkbox(knob.default, **words)
    if kind in (int, float):
        return gr.Number(knob.default, step=step_of(knob), **words)
    return gr.Textbox(knob.default, max_lines=1, **words)


def help_of(knob: Knob) -> str:
    """The help with the unit, the bounds, and the name that the field has in the libraries."""
    name = knob.path.rpartition(".")[2]
    named = "" if f"({name})" in knob.help else f" ({name})"
    spelled = UNITS.get(knob.unit, knob.unit)
    unit = f"In {spelled}. " if spelled and spelled not in knob.help.lower() else ""
    words, bounds = knob.help.rstrip("."), bounds_of(knob)
    return f"{unit}{words}{named}.{' ' + bounds + '.' if bounds else ''}"


def bounds_of(knob: Knob) -> str:
    """What a number may be, in words: "1 to 512", "above 0, at most 0.1"; empty where it is no number."""
    if knob.info.annotation not in (int, float):
        return ""
    found = {
        name: getattr(rule, name) for rule in knob.info.metadata for name in ("ge", "gt", "le") if hasattr(rule, name)
    }
    most = f"{found['le']:,}" if "le" in found else ""
    if "ge" in found:
        return f"{found['ge']:,} to {most}" if most else f"At least {found['ge']:,}"
    least = f"Above {found['gt']:,}" if "gt" in found else ""
    return ", ".join(part for part in (least, f"at most {most}" if most else "") if part)


def step_of(knob: Knob) -> float:
    """What an arrow key adds: 1 for whole numbers, else the size of the default's first digit."""
    if knob.info.annotation is int or knob.default >= 1:
        return 1
    return 10.0 ** math.floor(math.log10(knob.default)) if knob.default else 0.05


def nested(knobs: Sequence[Knob], values: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """The form's values, in the order of `knobs`, nested by group as `parse_config` takes them."""
    raw: dict[str, dict[str, Any]] = {}
    for knob, value in zip(knobs, values, strict=True):
        group, _, name = knob.path.partition(".")
        raw.setdefault(group, {})[name] = value
    return raw


def values_of(knobs: Sequence[Knob], config: dict[str, Any]) -> list[Any]:
    """The values of `knobs` in a nested config; defaults where it says nothing."""
    found = []
    for knob in knobs:
        group, _, name = knob.path.partition(".")
        part = config.get(group)
        found.append(part.get(name, knob.default) if isinstance(part, dict) else knob.default)
    return found


def empty_faults(knobs: Sequence[Knob], values: Iterable[Any]) -> list[Fault]:
    """A fault for every number that was wiped: it is said as "is empty", not as "can not be None"."""
    return [
        Fault(knob.path, f"{knob.label} is empty.", f"The usual value is {knob.default}.")
        for knob, value in zip(knobs, values, strict=True)
        if value is None
    ]


def whole(value: Any, otherwise: int = 1) -> int:
    """A number of the page as a whole one; `otherwise` where it is none. The tab may send anything."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise


def told(words: Any) -> Any:
    """The update of a place for notes: what is empty takes no room."""
    return gr.update(value=str(words), visible=bool(words))
