"""What this very run is taught: an example with the form's method, template and lengths, in a drawer of New run."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from studio.core.config import RunConfig, parse_config
from studio.core.errors import Faults
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.shell.session import owner_of
from studio.ui import run_form
from studio.ui.fields import whole
from studio.ui.frame import QUIET
from studio.ui.markup import NOTHING, Markup, html, join, muted, note
from studio.ui.notices import with_note
from studio.ui.sight import Sight
from studio.ui.tokens import token_view

TITLE = "What this run is taught"
WAYS = ["Tokens", "Text"]
OPEN = "open"
NOT_YET = "Choose a base model and a dataset. Then an example stands here, as this run is taught it."
TO_MEND = "The settings are to be mended first. What is wrong stands at the right."
# The fields that change what is taught; the others change how.
TEACHING = ("base.revision", "base.chat_template", "method.name", "method.learn", "training.max_length",
            "training.overlong", "training.eval_share", "training.seed")  # fmt: skip


class TaughtCard:
    """The drawer, closed at first: nothing is asked of the sandbox for those who do not look."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        self.is_open = gr.Textbox("", visible=False)
        with gr.Accordion(TITLE, open=False, elem_classes="ts-drawer") as self.drawer:
            with gr.Row(elem_classes="ts-buttons ts-leaf"):
                self.view = gr.Radio(
                    WAYS, value=WAYS[0], label="View", show_label=False, container=False, elem_classes="ts-seg"
                )
                self.back, self.on = gr.Button("Previous", size="sm"), gr.Button("Next", size="sm")
                self.number = gr.Number(1, label="Example", precision=0, min_width=80, elem_classes="ts-small")
            self.seen = html(muted(NOT_YET))
            self.words = html(visible=False)


class TaughtDesk:
    """The handlers: values of the form in, updates out."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores; examples that were shown are kept for a while."""
        self.services = services
        self.sight = Sight(services)

    def see(
        self, request: gr.Request, is_open: Any, view: Any, number: Any, repo: Any, version_id: Any, *settings: Any
    ) -> list[Any]:
        """The example with `number` (from 1), and which one it is."""
        if is_open != OPEN:
            return [gr.skip(), gr.skip()]
        dataset = run_form.version_or_none(self.services, owner_of(request), version_id)
        if dataset is None or not str(repo or "").strip():
            return [str(muted(NOT_YET)), gr.skip()]
        try:
            config = parse_config(run_form.raw_config(repo, settings))
        except Faults:
            return [str(muted(TO_MEND)), gr.skip()]
        words, index = self.shown(dataset, config, view, whole(number) - 1)
        return [str(words), index + 1]

    def shown(self, dataset: DatasetVersion, config: RunConfig, view: Any, index: int) -> tuple[Markup, int]:
        """The example as markup, and its place: after the last comes the first. Raises `StudioError`."""
        place = index % max(1, dataset.examples)
        seen = self.sight.taught(dataset, config, place)
        where = muted(f"Example {place + 1:,} of {seen['total']:,}, {template_words(config)}.")
        return join([where, not_taught(seen, config), token_view(seen, str(view))]), place

    def turn(self, by: int) -> Callable[..., list[Any]]:
        """A handler for the next example (`by` 1), or the one before (-1)."""

        def turned(request: gr.Request, is_open: Any, view: Any, number: Any, *form: Any) -> list[Any]:
            return self.see(request, is_open, view, whole(number) + by, *form)

        return turned


def template_words(config: RunConfig) -> str:
    """Which template and how much of an example: "the model's own template, cut at 1,024 tokens"."""
    names = {"auto": "the model's own template", "plain": "plain lines", "chatml": "the ChatML template"}
    kept = "longer ones are left out" if config.training.overlong == "drop" else "longer ones are cut"
    return f"{names[config.base.chat_template]}, at most {config.training.max_length:,} tokens ({kept})"


def not_taught(seen: dict[str, Any], config: RunConfig) -> Markup:
    """Why this example is not learnt at all, where it is not."""
    if seen["held_out"]:
        return note("plain", "Held out", "The run is checked with it, and never taught it.")
    if seen["cut"] and config.training.overlong == "drop":
        return note("warn", "Left out", f"It is longer than {config.training.max_length:,} tokens.")
    if not seen["learnt"]:
        return note("warn", "Nothing in it is learnt", "It is left out.")
    return NOTHING


def wire(card: TaughtCard, desk: TaughtDesk, model: Any, dataset: Any, settings: Sequence[Any]) -> None:
    """What happens when; `settings` stand in the order of `KNOBS`."""
    asked = [card.is_open, card.view, card.number, model, dataset, *settings]
    places, last = [card.seen, card.number, card.words], {"trigger_mode": "always_last", **QUIET}
    see = with_note(desk.see, 2, shown=True)
    card.drawer.expand(lambda: OPEN, None, card.is_open, **QUIET)
    card.drawer.collapse(lambda: "", None, card.is_open, **QUIET)
    teaching = [settings[run_form.at(path)] for path in TEACHING]
    changes = [one.change for one in (card.is_open, card.view, model, dataset, *teaching)]
    gr.on([*changes, card.number.input], see, asked, places, **last)
    for button, by in ((card.back, -1), (card.on, 1)):
        button.click(with_note(desk.turn(by), 2, shown=True), asked, places, **last)
