"""The frame of every page: skip link, header with the five places, the chip of the running run, the light switch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.core.states import State
from studio.ui.markup import NAV, Markup, html, icon, join, state
from studio.ui.units import percent

EVERY_SECONDS = 2
# How every handler of ours is wired: no spinner, no waiting for other people's ticks, no public API.
QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None, "api_visibility": "private"}


@dataclass(frozen=True)
class Chip:
    """The run that is shown in the header: `share` of it is done (0 to 1), `words` say how long it takes yet."""

    run_id: str
    name: str
    state: State
    share: float
    words: str


Live = Callable[[], Chip | None]


def chip_link(chip: Chip | None) -> Markup:
    """The chip as a link to its run; nothing without one."""
    if chip is None:
        return Markup("")
    return Markup('<a class="chip" href="/run?id={}">{}<span><b>{}</b> {}</span><span>{}</span></a>').format(
        quote(chip.run_id), state(chip.state), chip.name, percent(chip.share), chip.words
    )


def frame(active: str, chip: Chip | None = None) -> Markup:
    """The header; `active` is a name of `NAV`, or empty."""

    def place(name: str, address: str) -> Markup:
        current = Markup(' aria-current="page"') if name == active else ""
        kind = Markup(' class="new"' if current else ' class="new ts-button"') if name == "New run" else ""
        return Markup('<a href="{}"{}{}>{}{}</a>').format(address, kind, current, icon(name), name)

    return Markup(
        '<a class="ts-skip" href="#main" data-ts-skip>Skip to the page</a>'
        '<header class="ts-top"><a class="brand" href="/">{}Tunesmith</a><nav aria-label="Pages">{}</nav>{}'
        '<button type="button" data-ts-theme aria-label="Switch between light and dark">{}</button></header>'
    ).format(icon("fork"), join(place(*item) for item in NAV.items()), chip_link(chip), icon("contrast"))


def unless_same(new: Markup, shown: str | None) -> Any:
    """The update of a place, or Gradio's "nothing changed"."""
    return gr.skip() if str(new) == shown else str(new)


@contextmanager
def page(
    studio: gr.Blocks,
    name: str,
    path: str = "",
    *,
    nav: str = "",
    live: Live | None = None,
    every: float = EVERY_SECONDS,
) -> Iterator[gr.Timer]:
    """`with page(studio, "Runs", "/runs", live=live) as timer:` opens a route with the frame and a centred column.

    `name` is the title in the tab; `path` is empty for the first page; `nav` names the place of `NAV` that is active,
    if it is not `name`; `live` says what the chip shows and is asked at load and every so many seconds (`every`, while
    the tab is visible): it must answer in a few milliseconds. Wire what is live to `timer.tick(..., **QUIET)`.
    """
    active = nav or name
    with studio.route(name, path, show_in_navbar=False) if path else studio:
        top = html(frame(active), "ts-frame")
        timer = gr.Timer(every)
        if live is not None:

            def refresh(shown: str | None) -> Any:
                return unless_same(frame(active, live()), shown)

            gr.on([studio.load, timer.tick], refresh, top, top, **QUIET)
        with gr.Column(elem_classes="ts-page", elem_id="main"):
            yield timer
