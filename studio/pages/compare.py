"""Two runs side by side, `/compare?a=&b=`: what came out, one chart of both losses, what was set differently."""

from functools import lru_cache
from typing import Any

import gradio as gr

from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.stores.series import MetricStore
from studio.shell.session import owner_of
from studio.ui import compare_view, live
from studio.ui.fields import Choice
from studio.ui.frame import QUIET, page
from studio.ui.markup import Markup, card, empty, head, html, link_button, note
from studio.ui.notices import with_note

TEXT = "What came out, how both learnt, and what was set differently."
MOST_RUNS = 200


def comparable(services: Services, owner: str) -> list[Run]:
    """The person's runs that have begun, the newest first: only those have something to compare."""
    begun = [run for run in services.runs.of(owner, MOST_RUNS) if run.started_at is not None]
    return sorted(begun, key=lambda run: -(run.started_at or 0.0))


def chosen(runs: list[Run], first: str, second: str) -> tuple[str, str]:
    """The ids that are compared: those asked for, else the newest others."""
    known = [run.id for run in runs]
    a = first if first in known else next((one for one in known if one != second), "")
    b = second if second in known and second != a else next((one for one in known if one != a), "")
    return a, b


def drawn(services: Services, owner: str, first: str, second: str) -> list[Markup]:
    """Chart, outcomes, settings. Raises `NotFound` where one of the runs is not the person's, or gone."""
    runs = [services.runs.get(one, owner) for one in (first, second)]
    at = [(run.id, run.claim, run.step, run.state) for run in runs]
    chart, outcomes = figures(services.metrics, *at)
    speeds = [services.metrics.mean(run.id, "tokens_per_s") for run in runs]
    return [chart, compare_view.outcomes(runs, outcomes, speeds), compare_view.settings(runs)]


@lru_cache(maxsize=8)
def figures(metrics: MetricStore, first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Markup, Any]:
    """The chart and the curves in it, read once until one of the runs goes on: `first` and `second` begin with ids."""
    both = [metrics.series(str(one[0]), compare_view.CURVES) for one in (first, second)]
    return compare_view.loss_chart(*both), both


def nothing_yet() -> Markup:
    """The page before there are two runs that have begun."""
    words = "Two runs that have begun can be compared. There are not so many yet."
    return empty("Nothing to compare yet", words, link_button("All runs", "/runs"))


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def opened(request: gr.Request) -> list[Any]:
        owner, asked = owner_of(request), request.query_params
        runs = comparable(services, owner)
        a, b = chosen(runs, str(asked.get("a") or "")[:64], str(asked.get("b") or "")[:64])
        if not (a and b):
            return [gr.update(visible=False), live.shown(nothing_yet()), gr.skip(), gr.skip(), *[gr.skip()] * 4]
        names = [(compare_view.choice_words(run), run.id) for run in runs]
        picks = [gr.update(choices=names, value=one) for one in (a, b)]
        shown = live.changed(drawn(services, owner, a, b), "")
        return [gr.update(visible=True), live.shown(Markup("")), *picks, *shown]

    def refresh(a: Any, b: Any, stamp: str, request: gr.Request) -> list[Any]:
        try:
            return live.changed(drawn(services, owner_of(request), str(a or ""), str(b or "")), stamp)
        except NotFound:
            gone = note("warn", "There is no such run any more", "Choose another one.")
            return live.changed([gone, Markup(""), Markup("")], stamp)

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Compare", "/compare", nav="Runs", live=chip) as timer:
        html(head("Compare", TEXT, crumb="Runs"))
        nothing, words, stamp = html(visible=False), html(visible=False), gr.Textbox("", visible=False)
        with gr.Column(elem_classes="ts-stack") as whole:
            with gr.Row(elem_classes="ts-card"):
                picks = [Choice([], label=f"Run {letter}", interactive=True) for letter in compare_view.LETTERS]
            places = [card(), card(), card()]
        outputs = [*places, stamp]
        load, tick = with_note(opened, 4 + len(outputs), shown=True), with_note(refresh, len(outputs), shown=True)
        studio.load(load, None, [whole, nothing, *picks, *outputs, words], **QUIET)
        triggers = [timer.tick, *(pick.change for pick in picks)]
        gr.on(triggers, tick, [*picks, stamp], [*outputs, words], **QUIET)
