"""One run, `/run?id=`: its state first, then charts; at the side what happened and how it was set."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gradio as gr

from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.states import ENDED
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.runs import Event, Run
from studio.core.stores.series import MetricStore, Series
from studio.core.use_cases.steer import stop_run
from studio.shell.session import owner_of
from studio.ui import live, run_facts, run_view
from studio.ui.frame import QUIET, page
from studio.ui.markup import Markup, card, empty, head, html, link_button
from studio.ui.notices import with_note

PLACES = 10  # head, links, stop, now, loss, learning rate, speed, timeline, settings, answers


@dataclass(frozen=True)
class Curves:
    """The series of a run, and the charts drawn from them."""

    series: dict[str, Series]
    charts: tuple[Markup, Markup, Markup]


@dataclass(frozen=True)
class Seen:
    """All that the page shows of a run, read once for a tick. `memory` is bytes of the run and of the machine."""

    run: Run
    place: int | None
    events: list[Event]
    curves: Curves
    dataset: DatasetVersion | None
    memory: tuple[int, int]
    has_adapter: bool
    worker_here: bool
    log: str


def look(services: Services, owner: str, run_id: str) -> Seen:
    """Read a run. Raises `NotFound`."""
    run = services.runs.get(run_id, owner)
    machine = services.machines.newest()
    newest = (run.claim, run.step, *sorted(services.metrics.latest(run.id).items()))
    return Seen(
        run=run,
        place=live.places(services.runs.of(owner)).get(run.id) if run.state == "queued" else None,
        events=services.runs.events(run.id, owner),
        curves=curves_of(services.metrics, run.id, float(run.steps) if run.is_live else 0.0, newest),
        dataset=dataset_of(services, run),
        memory=live.memory_of(services, run),
        has_adapter=(services.artifacts.adapter_dir(run.id) / "adapter_model.safetensors").is_file(),
        worker_here=machine is not None and machine.is_here,
        log=run_facts.tail(services.artifacts.log_path(run.id), services.settings.data_dir),
    )


@lru_cache(maxsize=16)
def curves_of(metrics: MetricStore, run_id: str, end: float, newest: tuple[Any, ...]) -> Curves:
    """Read and drawn once for all pages, until `newest` (the claim, the step and the last values) is another."""
    del newest
    series = metrics.series(run_id, run_view.METRICS, 600)
    return Curves(series, run_view.charts(series, end))


def dataset_of(services: Services, run: Run) -> DatasetVersion | None:
    """The version that it learns; None where it is gone."""
    try:
        return services.datasets.version(run.dataset_version_id, run.owner)
    except NotFound:
        return None


def drawn(seen: Seen) -> list[Any]:
    """What stands in the page's places."""
    run, series = seen.run, seen.curves.series
    if run.is_live and run.state != "stopping":
        now = run_view.progress_card(run, series, seen.memory)
    else:
        now = run_view.outcome(run, seen.has_adapter, seen.worker_here)
        now += run_view.ended_figures(run, series["eval_loss"]) if run.started_at else Markup("")
    stoppable = run.state not in ENDED and run.state != "stopping"
    return [
        run_view.run_head(run, seen.place),
        run_view.run_links(run, seen.has_adapter, bool(seen.log)),
        gr.update(visible=stoppable),
        live.shown(now),
        *seen.curves.charts,
        run_view.timeline(seen.events),
        run_facts.settings_card(run, seen.dataset, seen.log),
        live.shown(run_facts.answers_card(run)),
    ]


def missing(run_id: str) -> Markup:
    """The page without a run."""
    title, text = "No run is chosen", "Choose one from the list of runs."
    if run_id:
        title, text = "There is no such run", "It may have been deleted, or the address is incomplete."
    return head("Run", crumb="Runs") + empty(title, text, link_button("All runs", "/runs"))


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def refresh(run_id: str, stamp: str, request: gr.Request) -> list[Any]:
        if not run_id:
            return [gr.skip()] * (PLACES + 1)
        try:
            return live.changed(drawn(look(services, owner_of(request), run_id)), stamp)
        except NotFound:
            return [gr.skip()] * (PLACES + 1)

    def opened(request: gr.Request) -> list[Any]:
        asked = str(request.query_params.get("id") or "")[:64]
        try:
            seen = look(services, owner_of(request), asked)
        except NotFound:
            return [gr.update(visible=False), live.shown(missing(asked)), "", *[gr.skip()] * (PLACES + 1)]
        return [gr.update(visible=True), live.shown(Markup("")), asked, *live.changed(drawn(seen), "")]

    def stop(run_id: str, stamp: str, request: gr.Request) -> list[Any]:
        stop_run(services, owner_of(request), run_id)
        return refresh(run_id, stamp, request)

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Run", "/run", nav="Runs", live=chip) as timer:
        key, stamp = gr.Textbox("", visible=False), gr.Textbox("", visible=False)
        words, said = html(visible=False), html(visible=False)  # of loading and ticks; of the button, which stays
        nothing = html(visible=False)
        with gr.Column(visible=False, elem_classes="ts-stack") as whole:
            places, button = layout()
        outputs = [*places, stamp]
        load = with_note(opened, 3 + len(outputs), shown=True)
        tick = with_note(refresh, len(outputs), shown=True)
        halt = with_note(stop, len(outputs), shown=True)
        studio.load(load, None, [whole, nothing, key, *outputs, words], **QUIET)
        timer.tick(tick, [key, stamp], [*outputs, words], **QUIET)
        button.click(halt, [key, stamp], [*outputs, said], **QUIET)


def layout() -> tuple[list[Any], gr.Button]:
    """The places in the order of `drawn`, and the button that stops."""
    top = html()
    with gr.Row(elem_classes="ts-buttons"):
        button = gr.Button("Stop", size="md", visible=False)
        links = html()
    with gr.Row(elem_classes="ts-split"):
        with gr.Column(scale=2, elem_classes="ts-stack"):
            now, loss = html(), card()
            with gr.Row(elem_classes="ts-split"):
                rate, speed = card(min_width=260), card(min_width=260)
            answers = html(visible=False)
        with gr.Column(scale=1, min_width=280, elem_classes="ts-stack"):
            events, settings = card(), card()
    return [top, links, button, now, loss, rate, speed, events, settings, answers], button
