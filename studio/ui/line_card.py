"""The card of what waits: the line in its order, and buttons for the chosen run and for the whole queue."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.core.services import Services
from studio.core.use_cases.steer import hold_run, move_run, pause_queue, stop_run
from studio.shell.session import owner_of
from studio.ui.fields import Pick
from studio.ui.frame import QUIET
from studio.ui.line_view import Line, choices, ends_of_line, paused_note
from studio.ui.live import shown
from studio.ui.markup import NOTHING, Markup, html, muted, note
from studio.ui.notices import with_note

NOBODY = "Nothing waits. What you start now waits here until the queue is resumed."


class LineCard:
    """Drawn where it is made; hidden while nothing waits and the queue is open."""

    def __init__(self) -> None:
        """The places stand in the order of `drawn`."""
        with gr.Column(elem_classes="ts-card ts-line", visible=False) as box:
            with gr.Row(elem_classes="ts-buttons"):
                html(Markup("<h2>Waiting</h2>"))
                self.pause = gr.Button("Pause the queue", size="sm")
                self.resume = gr.Button("Resume the queue", variant="primary", size="sm", visible=False)
            words = html(visible=False)
            self.pick = Pick(
                [],
                label="Runs that wait, in their order",
                show_label=False,
                container=False,
                elem_classes="ts-choice",
                interactive=True,
            )
            with gr.Row(elem_classes="ts-buttons", visible=False) as row:
                self.earlier, self.later = gr.Button("Move up", size="sm"), gr.Button("Move down", size="sm")
                self.hold = gr.Button("Hold", size="sm")
                self.release = gr.Button("Release", size="sm", visible=False)
                self.out = gr.Button("Take out", size="sm")
                why = html(visible=False)
        buttons = [self.earlier, self.later, self.hold, self.release, self.pause, self.resume]
        self.places: list[Any] = [box, words, self.pick, row, *buttons, why]

    @staticmethod
    def drawn(line: Line, chosen: Any, room: tuple[str, str] | None) -> list[Any]:
        """What stands in the places. Where the chosen run waits no more, the first one is chosen."""
        runs = {run.id: run for run in line.waiting}
        run = runs.get(chosen) or next(iter(line.waiting), None)
        kept = {} if run is None or run.id == chosen else {"value": run.id}
        place, last = (line.place(run) if run else None), len(line.waiting)
        held = run is not None and run.held
        return [
            gr.update(visible=bool(line.waiting) or line.paused),
            shown(state_words(line, room)),
            gr.update(choices=choices(line), visible=bool(line.waiting), **kept),
            gr.update(visible=run is not None),
            gr.update(interactive=place not in (None, 1)),
            gr.update(interactive=place not in (None, last)),
            gr.update(visible=not held),
            gr.update(visible=held),
            gr.update(visible=not line.paused),
            gr.update(visible=line.paused),
            shown(muted(words) if run and (words := ends_of_line(run, line)) else NOTHING),
        ]

    def wire(self, services: Services, said: gr.HTML) -> list[Any]:
        """What the buttons do; `said` takes what went wrong. Gives the events after which the page is drawn anew."""
        acts: list[tuple[gr.Button, Callable[[str, str], object]]] = [
            (self.earlier, lambda owner, run_id: move_run(services, owner, run_id, -1)),
            (self.later, lambda owner, run_id: move_run(services, owner, run_id, 1)),
            (self.hold, lambda owner, run_id: hold_run(services, owner, run_id, True)),
            (self.release, lambda owner, run_id: hold_run(services, owner, run_id, False)),
            (self.out, lambda owner, run_id: stop_run(services, owner, run_id)),
            (self.pause, lambda owner, _: pause_queue(services, owner, True)),
            (self.resume, lambda owner, _: pause_queue(services, owner, False)),
        ]
        return [button.click(with_note(act_of(act), 0, shown=True), self.pick, said, **QUIET) for button, act in acts]


def act_of(act: Callable[[str, str], object]) -> Callable[..., list[Any]]:
    """A handler without outputs that does `act` as the person of the session to the chosen run."""

    def handler(chosen: Any, request: gr.Request) -> list[Any]:
        act(owner_of(request), str(chosen or ""))
        return []

    return handler


def state_words(line: Line, room: tuple[str, str] | None) -> Markup:
    """What keeps the whole line back."""
    words = paused_note(here=True) if line.paused else NOTHING
    if line.paused and not line.waiting:
        words += muted(NOBODY)
    return words + note("warn", *room) if room else words
