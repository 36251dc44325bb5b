"""What a person can do to a run on its page: buttons that stand where they help, and what they do."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.alarms import CURVES, alarms
from studio.core.remedies import Change, change_for
from studio.core.services import Services
from studio.core.states import ENDED
from studio.core.stores.runs import Run
from studio.core.use_cases.line import WAITING
from studio.core.use_cases.steer import (
    clean_checkpoints,
    delete_run,
    hold_run,
    move_run,
    retry_run,
    stop_run,
)
from studio.core.use_cases.storage import Storage
from studio.shell.session import owner_of
from studio.ui.fields import told
from studio.ui.frame import QUIET
from studio.ui.going import go_to
from studio.ui.line_view import Line
from studio.ui.live import config_of
from studio.ui.markup import NOTHING, cardhead, facts, html, muted
from studio.ui.notices import note_of, with_note
from studio.ui.units import file_size

SURE = "Its adapter, its checkpoints and its record go for good."
Do = Callable[[Services, str, str], object]


@dataclass(frozen=True)
class Boxes:
    """The hidden boxes of the page: the run's id, and a key that makes Retry safe to press twice."""

    run: gr.Textbox
    key: gr.Textbox


class RunButtons:
    """The row below the title. `links` is the place of the run's links between them."""

    def __init__(self) -> None:
        """Drawn where it is made, all hidden until `drawn` shows what is possible."""
        with gr.Row(elem_classes="ts-buttons"):
            self.mended = gr.Button("Retry", variant="primary", size="md", visible=False)
            self.again = gr.Button("Retry", size="md", visible=False)
            self.stop = gr.Button("Stop", size="md", visible=False)
            self.stop_best = gr.Button("Stop and keep the best", size="md", visible=False)
            self.earlier = gr.Button("Move up", size="md", visible=False)
            self.later = gr.Button("Move down", size="md", visible=False)
            self.hold = gr.Button("Hold", size="md", visible=False)
            self.release = gr.Button("Release", size="md", visible=False)
            self.links = html()
            self.better = gr.Button("Retry", size="md", visible=False)
            self.delete = gr.Button("Delete", size="md", visible=False)
        with gr.Row(elem_classes="ts-buttons ts-sure", visible=False) as self.sure:
            html(muted(SURE))
            self.gone = gr.Button("Delete for good", variant="stop", size="md")
            self.keep = gr.Button("Keep it", size="md")
        moves = [self.stop, self.stop_best, self.earlier, self.later, self.hold, self.release]
        self.places: list[Any] = [self.mended, self.again, *moves, self.better, self.delete]

    @staticmethod
    def drawn(run: Run, line: Line, alarms: Sequence[str] = (), best: int = 0) -> list[Any]:
        """Which buttons stand there, in the order of `places`. `alarms` are the kinds of what the curves say.

        `best` is the step of the best check, where a later one was worse; else 0.
        What failed is retried first of all; what was stopped can be tried, so Retry stands behind that.
        """
        change, waits, ended = change_of(run, alarms), run.state in WAITING, run.state in ENDED
        place, failed = line.place(run), run.state == "failed"
        words = f"Retry with {change.words}" if change else "Retry"
        return [
            gr.update(visible=change is not None and failed, value=words),
            gr.update(visible=failed),
            gr.update(visible=not ended and run.state != "stopping"),
            gr.update(visible=has_better(run, best), value=f"Stop and keep the best (step {best:,})"),
            gr.update(visible=waits and place not in (None, 1)),
            gr.update(visible=waits and place not in (None, len(line.waiting))),
            gr.update(visible=waits and not run.held),
            gr.update(visible=waits and run.held),
            gr.update(visible=(change is not None and not failed) or run.state == "stopped", value=words),
            gr.update(visible=ended),
        ]

    def wire(self, services: Services, boxes: Boxes, said: gr.HTML, going: gr.HTML) -> list[Any]:
        """What the buttons do. `said` takes what went wrong, `going` leads to another page.

        Gives the events after which the page is drawn anew.
        """
        acts: list[tuple[gr.Button, Do]] = [
            (self.stop, stop_run),
            (self.stop_best, lambda s, o, r: stop_run(s, o, r, keep_best=True)),
            (self.earlier, lambda s, o, r: move_run(s, o, r, -1)),
            (self.later, lambda s, o, r: move_run(s, o, r, 1)),
            (self.hold, lambda s, o, r: hold_run(s, o, r, True)),
            (self.release, lambda s, o, r: hold_run(s, o, r, False)),
        ]
        for button, changed in ((self.mended, True), (self.better, True), (self.again, False)):
            busy = button.click(lambda: told(muted("Checking and queueing…")), None, going, **QUIET)
            busy.then(retried(services, changed), [boxes.run, boxes.key], [going, said], **QUIET)
        self.delete.click(lambda: gr.update(visible=True), None, self.sure, **QUIET)
        self.keep.click(lambda: gr.update(visible=False), None, self.sure, **QUIET)
        self.gone.click(with_note(deleted(services), 1, shown=True), boxes.run, [going, said], **QUIET)
        return [button.click(acted(services, act), boxes.run, said, **QUIET) for button, act in acts]


class DiskCard:
    """What a run takes on the disk, and the button that gives its checkpoints back."""

    def __init__(self) -> None:
        """Drawn where it is made, hidden until `drawn` shows it."""
        with gr.Column(elem_classes="ts-card", visible=False) as box:
            words = html()
            self.clean = gr.Button("Remove checkpoints", size="sm", visible=False)
        self.places: list[Any] = [box, words, self.clean]

    @staticmethod
    def drawn(run: Run, storage: Storage) -> list[Any]:
        """What stands in the places."""
        parts = [("Adapter", storage.adapter), ("Checkpoints", storage.checkpoints), ("Log and records", storage.rest)]
        rows = [(name, file_size(size)) for name, size in [*parts, ("In all", storage.whole)] if size]
        removable = run.state in ENDED and storage.checkpoints > 0
        words = f"Remove checkpoints ({file_size(storage.checkpoints)})"
        return [
            gr.update(visible=run.started_at is not None and storage.whole > 0),
            cardhead("On the disk") + facts(rows, "ts-facts--rows"),
            gr.update(visible=removable, value=words if removable else "Remove checkpoints"),
        ]

    def wire(self, services: Services, boxes: Boxes, said: gr.HTML) -> Any:
        """What the button does. Gives the event after which the page is drawn anew."""
        return self.clean.click(acted(services, clean_checkpoints), boxes.run, said, **QUIET)


def has_better(run: Run, best: int) -> bool:
    """Whether a run that trains has left its best check behind it, and stopping would keep the last weights."""
    keeps_it = config_of(run).training.load_best_model_at_end
    return run.state == "running" and 0 < best < run.step and not keeps_it


def change_of(run: Run, alarms: Sequence[str] = ()) -> Change | None:
    """What one click changes so that a run which failed, or ended with an alarm, may do better; None where nothing."""
    reasons = [run.reason] if run.state == "failed" else list(alarms) if run.state in ENDED else []
    return next((change for reason in reasons if (change := change_for(reason, run.config))), None)


def alarms_of(services: Services, run: Run) -> list[str]:
    """The kinds of what a run's curves say, and of what its trainer said of the examples."""
    found = [one.kind for one in alarms(services.metrics.series(run.id, CURVES), run.steps, run.state in ENDED)]
    told = (event.kind.partition(":")[2] for event in services.runs.events(run.id, run.owner))
    return [*found, *(kind for kind in told if kind == "no_end")]


def acted(services: Services, act: Do) -> Callable[..., Any]:
    """A handler that does `act` to the run as the person of the session, and gives the note of what went wrong."""

    def handler(run_id: str, request: gr.Request) -> list[Any]:
        act(services, owner_of(request), run_id)
        return []

    return with_note(handler, 0, shown=True)


def retried(services: Services, changed: bool) -> Callable[..., Any]:
    """A handler that queues the run again and goes to the new one, or says why not."""

    def handler(run_id: str, key: str, request: gr.Request) -> list[Any]:
        owner = owner_of(request)
        try:
            run = services.runs.get(run_id, owner)
            change = change_of(run, alarms_of(services, run)) if changed else None
            token = hashlib.sha256(f"{key} {run_id} {changed}".encode()).hexdigest()[:32] if key else None
            new = retry_run(services, owner, run_id, token, change.config if change else None)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return [told(NOTHING), told(note_of(error))]
        return [told(go_to("/run", id=new.id)), told(NOTHING)]

    return handler


def deleted(services: Services) -> Callable[..., Any]:
    """A handler that deletes the run and goes to the list."""

    def handler(run_id: str, request: gr.Request) -> Any:
        delete_run(services, owner_of(request), run_id)
        return told(go_to("/runs"))

    return handler
