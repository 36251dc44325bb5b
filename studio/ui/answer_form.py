"""How they answer: the fields of the playground's drawer, and their values as options, every fault at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.engine_client import ChatOptions
from studio.core.errors import Fault, Faults

MOST_STOPS = 4
LONGEST_STOP = 100


@dataclass(frozen=True)
class Setting:
    """One number of the drawer: its field's name, its words, its bounds, its default."""

    name: str
    label: str
    help: str
    default: float
    low: float
    high: float
    step: float
    is_whole: bool = False


SETTINGS = (
    Setting("max_new_tokens", "Longest answer", "In tokens; a word has one or two.", 256, 1, 4096, 16, True),
    Setting("temperature", "Temperature", "More is bolder, less is surer; 0 always takes the likeliest word.",
            0.7, 0, 2, 0.1),
    Setting("top_p", "Top p", "Only the likeliest words that together reach this share; 1 leaves it off.",
            0.95, 0.01, 1, 0.05),
    Setting("top_k", "Top k", "Only so many of the likeliest words; 0 leaves it off.", 0, 0, 1000, 1, True),
    Setting("min_p", "Min p", "No word below this share of the likeliest one's chance; 0 leaves it off.",
            0, 0, 1, 0.05),
    Setting("seed", "Seed", "The same seed gives the same answer; another one, another.", 42, 0, 2**31 - 1, 1, True),
    Setting("repetition_penalty", "Against repeating", "Above 1 makes words that were said less likely; 1 is off.",
            1, 0.5, 2, 0.05),
    Setting("num_beams", "Beams", "Follows so many answers and shows the best, whole, at its end; 1 is off.",
            1, 1, 8, 1, True),
)  # fmt: skip
DRAWN = ("temperature", "top_p", "top_k", "min_p", "seed")
"""What plays a part only where words are drawn by chance."""


class AnswerForm:
    """The drawer's fields. `fields` are the inputs of a handler, in the order that `options_of` takes."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        self.system = gr.Textbox(
            label="System prompt", info="Said to all before the first question.", lines=2, max_lines=6
        )
        self.chance = gr.Checkbox(
            False,
            label="Draw words by chance",
            info="Off, each always says the likeliest word: best to compare (do_sample).",
        )
        with gr.Row(elem_classes="ts-fields"):
            numbers = {one.name: number_of(one) for one in SETTINGS}
            self.stops = gr.Textbox(
                label="Stop at", lines=2, max_lines=4,
                info=f"The answer ends before any of these texts. One a line, at most {MOST_STOPS} (stop).",
            )  # fmt: skip
        self.drawn = [numbers[name] for name in DRAWN]
        self.fields: list[Any] = [self.chance, *numbers.values(), self.stops]

    def wire(self, **quiet: Any) -> None:
        """What only plays a part with chance is shown only then."""
        self.chance.input(lambda on: [gr.update(visible=bool(on))] * len(self.drawn), self.chance, self.drawn, **quiet)


def number_of(one: Setting) -> gr.Number:
    """The component of a setting."""
    info = f"{one.help.rstrip('.')} ({one.name}). {words_of(one.low)} to {words_of(one.high)}."
    return gr.Number(one.default, step=one.step, label=one.label, info=info, visible=one.name not in DRAWN)


def words_of(number: float) -> str:
    """A bound in words."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:g}"


def options_of(values: Sequence[Any]) -> ChatOptions:
    """The drawer's values as options. Raises `Faults` with all that is no answer."""
    chance, *numbers, stops = values
    found = {one.name: value for one, value in zip(SETTINGS, numbers, strict=True)}
    if not chance:  # what is not shown can not be wrong
        found |= {one.name: one.default for one in SETTINGS if one.name in DRAWN}
    faults = [fault for one in SETTINGS for fault in faults_of(one, found[one.name])]
    texts = [line for line in str(stops or "").splitlines() if line]
    faults += stop_faults(texts)
    if chance and not faults and found["num_beams"] > 1:
        faults.append(
            Fault("num_beams", "Beams and chance do not go together.", "Choose 1 beam, or draw no words by chance.")
        )
    if faults:
        raise Faults(faults)
    return ChatOptions(
        temperature=float(found["temperature"]) if chance else 0.0,
        top_p=float(found["top_p"]) if chance else 1.0,
        top_k=int(found["top_k"]),
        min_p=float(found["min_p"]),
        repetition_penalty=float(found["repetition_penalty"]),
        max_tokens=int(found["max_new_tokens"]),
        seed=int(found["seed"]),
        stop=tuple(texts),
        num_beams=int(found["num_beams"]),
    )


def faults_of(one: Setting, value: Any) -> list[Fault]:
    """What is wrong with one number; the tab may send anything."""
    bounds = f"Choose {words_of(one.low)} to {words_of(one.high)}."
    if value is None:
        return [Fault(one.name, f"{one.label} is empty.", bounds)]
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not one.low <= value <= one.high:
        return [Fault(one.name, f"{one.label} can not be {str(value)[:40]}.", bounds)]
    if one.is_whole and not float(value).is_integer():
        return [Fault(one.name, f"{one.label} can not be {value:g}.", "Choose a whole number.")]
    return []


def stop_faults(texts: Sequence[str]) -> list[Fault]:
    """What is wrong with the texts to stop at."""
    if len(texts) > MOST_STOPS:
        return [Fault("stop", f"There are {len(texts)} texts to stop at.", f"Keep {MOST_STOPS} at most.")]
    if any(len(text) > LONGEST_STOP for text in texts):
        return [Fault("stop", "A text to stop at is too long.", f"Keep it to {LONGEST_STOP} characters.")]
    return []
