"""One run, `/run?id=`: its state first, then charts; at the side what happened and how it was set."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gradio as gr

from studio.core.alarms import Alarm, alarms
from studio.core.artifacts import is_published, new_id
from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.states import ENDED
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.runs import Event, Run
from studio.core.stores.series import MetricStore, Sample, Series
from studio.core.use_cases.line import WAITING
from studio.core.use_cases.storage import Storage, of_run
from studio.shell.session import owner_of
from studio.ui import live, run_curves, run_facts, run_view
from studio.ui.code_card import CodeCard
from studio.ui.frame import QUIET, page
from studio.ui.line_view import Line, waiting_note
from studio.ui.markup import NOTHING, Markup, card, empty, head, html, link_button
from studio.ui.notices import with_note
from studio.ui.run_buttons import Boxes, DiskCard, RunButtons
from studio.ui.samples_view import samples_card


@dataclass(frozen=True)
class Curves:
    """The series of a run, the charts drawn from them, and what they say."""

    series: dict[str, Series]
    charts: tuple[Markup, Markup]
    alarms: list[Alarm]


@dataclass(frozen=True)
class Seen:
    """All that the page shows of a run, read once for a tick. `memory` is bytes of the run and of the machine."""

    run: Run
    line: Line
    events: list[Event]
    curves: Curves
    samples: dict[int, list[Sample]]
    dataset: DatasetVersion | None
    memory: tuple[int, int]
    has_adapter: bool
    storage: Storage
    worker_here: bool
    room: tuple[str, str] | None
    log: str

    @property
    def alarm_kinds(self) -> list[str]:
        """What its curves say, and what its trainer said of the examples."""
        told = ["no_end"] if any(event.kind == run_curves.SAID_BY_TRAINER for event in self.events) else []
        return [*(one.kind for one in self.curves.alarms), *told]


def look(services: Services, owner: str, run_id: str) -> Seen:
    """Read a run. Raises `NotFound`."""
    run = services.runs.get(run_id, owner)
    newest = (run.claim, run.step, *sorted(services.metrics.latest(run.id).items()))
    return Seen(
        run=run,
        line=live.line(services, services.runs.of(owner) if run.state in WAITING else []),
        events=services.runs.events(run.id, owner),
        curves=curves_of(services.metrics, run.id, (run.steps, run.is_live, run.state in ENDED), newest),
        samples=services.metrics.samples(run.id),
        dataset=dataset_of(services, run),
        memory=live.memory_of(services, run),
        has_adapter=is_published(services.artifacts.adapter_dir(run.id)),
        storage=of_run(services, run),
        worker_here=live.worker_here(services),
        room=live.room(services),
        log=run_facts.tail(services.artifacts.log_path(run.id), services.settings.data_dir),
    )


@lru_cache(maxsize=16)
def curves_of(metrics: MetricStore, run_id: str, at: tuple[int, bool, bool], newest: tuple[Any, ...]) -> Curves:
    """Read and drawn once for all pages, until `newest` (the claim, the step and the last values) is another.

    `at`: the run's steps in all, whether it is live, whether it has ended.
    """
    del newest
    steps, live_now, ended = at
    series = metrics.series(run_id, run_curves.METRICS, 600)
    return Curves(series, run_curves.charts(series, float(steps) if live_now else 0.0), alarms(series, steps, ended))


def dataset_of(services: Services, run: Run) -> DatasetVersion | None:
    """The version that it learns; None where it is gone."""
    try:
        return services.datasets.version(run.dataset_version_id, run.owner)
    except NotFound:
        return None


def drawn(seen: Seen) -> list[Any]:
    """What stands in the page's places, in the order of `Layout.places`."""
    run = seen.run
    return [
        run_view.run_head(run, seen.line),
        run_view.run_links(run, seen.has_adapter, bool(seen.log)),
        *RunButtons.drawn(run, seen.line, seen.alarm_kinds, run_curves.left_behind(seen.curves.series["eval_loss"])),
        live.shown(now_words(seen) + alarm_words(seen)),
        seen.curves.charts[0],
        live.shown(samples_card(seen.samples)),
        seen.curves.charts[1],
        run_view.timeline(seen.events),
        run_facts.settings_card(run, seen.dataset, seen.log),
        *DiskCard.drawn(run, seen.storage),
        *CodeCard.drawn(run, seen.has_adapter),
        live.shown(run_facts.answers_card(run)),
    ]


def now_words(seen: Seen) -> Markup:
    """How far it is; or what is so, and what it means or what helps."""
    run, series = seen.run, seen.curves.series
    if run.is_live and run.state != "stopping":
        return run_view.progress_card(run, series, seen.memory)
    if run.state == "queued":
        words = waiting_note(run, seen.line, seen.worker_here, seen.room)
    else:
        words = run_view.outcome(run, seen.has_adapter)
    return words + (run_view.ended_figures(run, series["eval_loss"]) if run.started_at else Markup(""))


def alarm_words(seen: Seen) -> Markup:
    """What the curves say; a run that failed for it has said so already."""
    run = seen.run
    if run.state == "queued" or run.reason in ("diverged", "nothing_learnt"):
        return NOTHING
    return run_curves.alarm_notes(seen.curves.alarms, seen.events)


def missing(run_id: str) -> Markup:
    """The page without a run."""
    title, text = "No run is chosen", "Choose one from the list of runs."
    if run_id:
        title, text = "There is no such run", "It may have been deleted, or the address is incomplete."
    return head("Run", crumb="Runs") + empty(title, text, link_button("All runs", "/runs"))


class Layout:
    """The page of a run that is there."""

    def __init__(self) -> None:
        """Drawn where it is made. The places stand in the order of `drawn`."""
        top = html()
        self.buttons = RunButtons()
        with gr.Row(elem_classes="ts-split"):
            with gr.Column(scale=2, elem_classes="ts-stack"):
                now, loss = html(), card()
                samples, small, answers = html(visible=False), card(), html(visible=False)
                self.code = CodeCard()
            with gr.Column(scale=1, min_width=280, elem_classes="ts-stack"):
                events, settings = card(), card()
                self.disk = DiskCard()
        first = [top, self.buttons.links, *self.buttons.places]
        curves = [loss, samples, small]
        self.places: list[Any] = [*first, now, *curves, events, settings, *self.disk.places, *self.code.places, answers]


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def refresh(run_id: str, stamp: str, request: gr.Request) -> list[Any]:
        try:
            return live.changed(drawn(look(services, owner_of(request), run_id)), stamp)
        except NotFound:  # no run is chosen, or it was deleted meanwhile
            return [gr.skip()] * (len(layout.places) + 1)

    def opened(request: gr.Request) -> list[Any]:
        asked = str(request.query_params.get("id") or "")[:64]
        try:
            seen = look(services, owner_of(request), asked)
        except NotFound:
            unchanged = [gr.skip()] * (len(layout.places) + 1)
            return [gr.update(visible=False), live.shown(missing(asked)), "", "", *unchanged]
        shown = live.changed(drawn(seen), "")
        return [gr.update(visible=True), live.shown(Markup("")), asked, new_id(), *shown]

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Run", "/run", nav="Runs", live=chip) as timer:
        boxes, stamp = Boxes(*(gr.Textbox("", visible=False) for _ in range(2))), gr.Textbox("", visible=False)
        words, said = html(visible=False), html(visible=False)  # of loading and ticks; of the buttons, which stays
        nothing, going = html(visible=False), html(visible=False)
        with gr.Column(visible=False, elem_classes="ts-stack") as whole:
            layout = Layout()
        outputs = [*layout.places, stamp]
        load = with_note(opened, 4 + len(outputs), shown=True)
        tick = with_note(refresh, len(outputs), shown=True)
        loaded = studio.load(load, None, [whole, nothing, boxes.run, boxes.key, *outputs, words], **QUIET)
        layout.code.wire(services, loaded, boxes.run)
        timer.tick(tick, [boxes.run, stamp], [*outputs, words], **QUIET)
        done = [*layout.buttons.wire(services, boxes, said, going), layout.disk.wire(services, boxes, said)]
        for event in done:
            event.then(tick, [boxes.run, stamp], [*outputs, words], **QUIET)
