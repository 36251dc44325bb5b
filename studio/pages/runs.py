"""All runs: a table on a desk, cards on a phone, the same markup. A run's name opens it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.core.services import Services
from studio.core.states import ENDED, LIVE
from studio.core.stores.runs import Run
from studio.core.use_cases.line import WAITING
from studio.shell.session import owner_of
from studio.ui import live
from studio.ui.frame import QUIET, page
from studio.ui.line_card import LineCard
from studio.ui.line_view import Line, wait_words
from studio.ui.markup import Markup, bar, card, empty, head, html, join, link_button, state, when
from studio.ui.notices import with_note
from studio.ui.units import percent

MOST_RUNS = 200
EVERY_SECONDS = 1.5  # what one person moves in the line, another sees within 2 s
KINDS: dict[str, tuple[str, ...]] = {
    "All": (),
    "Going": ("starting", "running", "finalizing", "stopping", *sorted(WAITING)),
    "Finished": ("succeeded", "stopped"),
    "Needs a look": ("failed", "interrupted"),
}
NO_LINE = Line((), {}, {}, False, 0.0)
COLUMNS = ("Run", "State", "Base model and data", "Result", "When")


def counts(runs: Sequence[Run]) -> str:
    """The line below the title: "One trains, three wait, two want a look."."""
    going = sum(run.state in LIVE for run in runs)
    waiting = sum(run.state in WAITING for run in runs)
    look = sum(run.state in KINDS["Needs a look"] for run in runs)
    parts = [(going, "trains", "train"), (waiting, "waits", "wait"), (look, "wants a look", "want a look")]
    words = [f"{live.spelled(n)} {one if n == 1 else many}" for n, one, many in parts if n]
    return live.sentence(words) or ("Nothing is running or waiting." if runs else "")


def to_compare(runs: Sequence[Run]) -> Markup:
    """The way to two runs side by side, where two have begun."""
    begun = sum(run.started_at is not None for run in runs)
    return link_button("Compare two", "/compare", plain=True) if begun > 1 else Markup("")


def result_cell(run: Run, line: Line) -> Markup:
    """What came out, how far it is, or when it starts."""
    if run.state == "queued":
        return Markup("{}").format(wait_words(run, line))
    if not run.is_live:
        return Markup("{}").format(live.result_words(run))
    done = live.share(run)
    return bar(done, f"Progress of {run.name}") + Markup("{}, {}").format(percent(done), live.time_left_words(run))


def when_cell(run: Run, line: Line) -> Markup:
    """Its place in line, when it started, or when it ended and how long it took."""
    if run.state == "queued":
        return Markup("Place {} in line").format(line.place(run))
    if run.is_live:
        return Markup("{}").format(live.started_words(run))
    took = live.took(run)
    return when(run.ended_at or run.started_at) + (Markup("<small>{}</small>").format(took) if took else "")


def rows_of(runs: Sequence[Run], line: Line) -> Markup:
    """All rows. Of a run that has ended the row is drawn once a day, so that a long list stays cheap to look at."""
    today = int(time.strftime("%Y%j"))
    return join(kept_row(Ended(run), today) if run.state in ENDED else row(run, line) for run in runs)


@dataclass(frozen=True)
class Ended:
    """A run that has ended, and so does not change: equal by its id and state."""

    run: Run

    def __hash__(self) -> int:
        return hash((self.run.id, self.run.state))

    def __eq__(self, other: object) -> bool:
        """The same run in the same state."""
        return isinstance(other, Ended) and (self.run.id, self.run.state) == (other.run.id, other.run.state)


@lru_cache(maxsize=2 * MOST_RUNS)
def kept_row(ended: Ended, today: int) -> Markup:
    """The row of a run that has ended. Its words change with the day ("Today")."""
    del today
    return row(ended.run, NO_LINE)


def row(run: Run, line: Line) -> Markup:
    """One run. The empty first cell is the margin that the stylesheet gives to a cell of ticks."""
    return Markup(
        '<tr><td class="tick" style="width:0;padding-right:0"></td><th scope="row"><a href="/run?id={}">{}</a></th>'
        '<td class="state">{}</td><td class="what">{}<small>{}</small></td><td class="result">{}</td>'
        '<td class="when">{}</td></tr>'
    ).format(
        quote(run.id),
        run.name,
        state(run.state),
        live.base_name(run),
        run.dataset_name,
        result_cell(run, line),
        when_cell(run, line),
    )


def listing(runs: Sequence[Run], wanted: str, line: Line) -> Markup:
    """The table of the runs in the wanted states, or an empty place that says what to do."""
    if not runs:
        text = "Pick a base model, drop in your data, press Start. The run then stands here."
        return empty("No runs yet", text, link_button("New run", "/new"))
    states = KINDS.get(wanted, ())
    kept = [run for run in runs if not states or run.state in states]
    if not kept:
        return empty("Nothing here", "No run is in this state.", link_button("New run", "/new"))
    names = join(Markup('<th scope="col">{}</th>').format(name) for name in COLUMNS)
    rows = rows_of(kept, line)
    more = Markup('<p class="foot">The {} newest runs are shown.</p>').format(MOST_RUNS)
    return Markup(
        '<div class="ts-runs"><table><thead><tr><td class="tick" style="width:0;padding-right:0"></td>{}</tr></thead>'
        "<tbody>{}</tbody></table>{}</div>"
    ).format(names, rows, more if len(runs) >= MOST_RUNS else "")


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def fill(wanted: str, chosen: Any, stamp: str, request: gr.Request) -> list[Any]:
        runs = services.runs.of(owner_of(request), MOST_RUNS)
        line = live.line(services, runs)
        shown = [head("Runs", counts(runs), to_compare(runs)), listing(runs, wanted, line)]
        return live.changed([*shown, *LineCard.drawn(line, chosen, live.room(services))], stamp)

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Runs", "/runs", live=chip, every=EVERY_SECONDS) as timer:
        top = html(head("Runs"))
        words, said = html(visible=False), html(visible=False)  # of loading and ticks; of the buttons, which stays
        card_of_line = LineCard()
        pick = gr.Radio(
            list(KINDS), value="All", label="Which runs", show_label=False, container=False, elem_classes="ts-seg"
        )
        table = card(Markup(""), "ts-card--flush")
        stamp = gr.Textbox("", visible=False)
        inputs, places = [pick, card_of_line.pick, stamp], [top, table, *card_of_line.places, stamp]
        refresh = with_note(fill, len(places), shown=True)
        triggers = [studio.load, pick.change, card_of_line.pick.input, timer.tick]
        gr.on(triggers, refresh, inputs, [*places, words], **QUIET)
        for done in card_of_line.wire(services, said):
            done.then(refresh, inputs, [*places, words], **QUIET)
