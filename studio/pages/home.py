"""The first page: a welcome while nothing has happened yet, then what is going on."""

import json
import secrets
from collections.abc import Sequence
from functools import cache
from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.core.assets import asset
from studio.core.catalog import DEMO_FILE
from studio.core.machine import Load, processor_name, real_cores
from studio.core.services import Services
from studio.core.states import LIVE
from studio.core.stores.runs import Run
from studio.core.use_cases.demo import MAPPING, demo_seconds, start_demo
from studio.core.use_cases.steer import stop_run
from studio.shell.session import owner_of
from studio.ui import home_view, live
from studio.ui.frame import QUIET, page
from studio.ui.markup import NOTHING, Markup, card, cardhead, html, link, link_button, muted, note
from studio.ui.notices import fresh_notice, note_of, with_note

MOST_RUNS = 60
SHORT_QUESTION = 90
SEE_IT = "Teach a small model to turn spoken orders into JSON. Then chat with it beside the one it came from."


@cache
def example() -> tuple[str, str]:
    """A held-out example of the starter dataset that says what it is about: question and answer."""
    rows = [json.loads(line) for line in (asset("examples") / DEMO_FILE).read_text(encoding="utf-8").splitlines()]
    held_out = [row for row in rows if row.get("split") == "eval" and len(row[MAPPING["prompt"]]) < SHORT_QUESTION]
    rich = [row for row in held_out if "null" not in row[MAPPING["completion"]]] or held_out or rows
    return rich[0][MAPPING["prompt"]], rich[0][MAPPING["completion"]]


def drawn(services: Services, runs: Sequence[Run]) -> list[Any]:
    """What stands in the places of a studio that has runs."""
    load = live.load(services)
    going = next((run for run in runs if run.state in LIVE), None)
    memory = live.memory_of(services, going) if going else (0, 0)
    series = services.metrics.series(going.id, home_view.METRICS, 600) if going else {}
    line = live.line(services, runs)
    found = home_view.machine_facts(services.machines.newest(), own_facts(load))
    return [
        live.shown(warnings(services, line.paused)),
        home_view.home_head(runs),
        live.shown(home_view.queue_strip(runs, line)),
        home_view.running_card(going, series, memory, line),
        live.shown(opened_by(going)),
        gr.update(visible=going is not None and going.state != "stopping"),
        going.id if going else "",
        home_view.recent(runs),
        home_view.machine_card(found, load, memory[0], live.worker_here(services), live.playground(services)),
    ]


def warnings(services: Services, paused: bool) -> Markup:
    """What the person should know before anything else."""
    notice, here = fresh_notice(services.settings.data_dir), live.worker_here(services)
    return home_view.notes(notice, here, paused, live.room(services))


def own_facts(load: Load) -> dict[str, Any]:
    """What this process sees of its machine."""
    return {"processor": processor_name(), "cores": real_cores(), "memory": load.memory_total}


def opened_by(run: Run | None) -> Markup:
    """The way to the run that trains."""
    return link_button("Open", f"/run?id={quote(run.id)}", plain=True) if run else NOTHING


def demo_words(services: Services) -> str:
    """The demo button's words, with its time once this machine was measured."""
    return "Run the demo" + live.minutes_words(demo_seconds(services))


def greeting(services: Services) -> list[Any]:
    """What stands in the welcome's places: the machine, and what is wrong with it."""
    load = live.load(services)
    machine = services.machines.newest()
    words = home_view.machine_sentence(home_view.machine_facts(machine, own_facts(load)))
    return [words, live.shown(warnings(services, services.line.paused_at() is not None))]


def queued_note(run: Run) -> Markup:
    """Said after the demo was queued; the page goes to the run by itself where the browser lets it."""
    address = f"/run?id={quote(run.id)}"
    on = Markup('<meta http-equiv="refresh" content="0;url={}">').format(address)
    return note("good", f"{run.name} is queued", Markup("{} to watch it.").format(link("Open the run", address)), on)


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw both faces of the page and wire them."""

    def refresh(stamp: str, request: gr.Request) -> list[Any]:
        runs = services.runs.of(owner_of(request), MOST_RUNS)
        faces = [gr.update(visible=not runs), gr.update(visible=bool(runs))]
        faces += [gr.update(value=demo_words(services)) for _ in range(2)]  # Gradio empties an update that it has read
        return live.changed([*faces, *greeting(services), *drawn(services, runs)], stamp)

    def begin(key: str, request: gr.Request) -> list[Any]:
        button = gr.update(value=demo_words(services), interactive=True)
        try:
            words = queued_note(start_demo(services, owner_of(request), key[:64] or None))
        except Exception as error:  # the door of the page; the button is ready again in any case
            return [button, live.shown(NOTHING), live.shown(note_of(error))]
        return [button, live.shown(words), live.shown(NOTHING)]

    def stop(run_id: str, request: gr.Request) -> list[Any]:
        stop_run(services, owner_of(request), run_id)
        return []

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Home", live=chip) as timer:
        key, stamp = gr.Textbox("", visible=False), gr.Textbox("", visible=False)
        words, said = html(visible=False), html(visible=False)  # of loading and ticks; of the buttons, which stays
        queued = html(visible=False)
        with gr.Column(visible=False, elem_classes="ts-stack") as empty_face:
            first, greeted = welcome_face()
        with gr.Column(visible=False, elem_classes="ts-stack") as busy_face:
            second, places, halt, going = busy_layout()
        outputs = [empty_face, busy_face, first, second, *greeted, *places, stamp]
        shown = with_note(refresh, len(outputs), shown=True)
        gr.on([studio.load, timer.tick], shown, stamp, [*outputs, words], **QUIET)
        studio.load(lambda: secrets.token_hex(16), None, key, **QUIET)
        stopped = halt.click(with_note(stop, 0, shown=True), going, said, **QUIET)
        stopped.then(shown, stamp, [*outputs, words], **QUIET)
        for button in (first, second):
            busy = button.click(lambda: gr.update(value="Queuing the demo", interactive=False), None, button, **QUIET)
            busy.then(begin, key, [button, queued, said], **QUIET)


def welcome_face() -> tuple[gr.Button, list[Any]]:
    """A studio without runs: the demo's button, and the places that follow the machine."""
    with gr.Row(elem_classes="ts-hero"):
        with gr.Column(min_width=280):
            html(home_view.welcome())
            with gr.Row(elem_classes="ts-buttons"):
                button = gr.Button("Run the demo", variant="primary", size="lg")
                gr.Button("Use my own data", link="/new", size="lg")
            machine, notes = html(), html(visible=False)
        with gr.Column(min_width=280):
            html(home_view.lesson(*example()))
    html(home_view.steps_list())
    return button, [machine, notes]


def busy_layout() -> tuple[gr.Button, list[Any], gr.Button, gr.Textbox]:
    """A studio with runs: the demo's button, the places in the order of `drawn`, the stop button, the run it stops."""
    notes, top, strip = html(visible=False), html(), html(visible=False)
    with gr.Row(elem_classes="ts-split"):
        with gr.Column(scale=2, elem_classes="ts-stack"):
            with gr.Column(elem_classes="ts-card"):
                running = html()
                with gr.Row(elem_classes="ts-buttons"):
                    opened = html(visible=False)
                    halt = gr.Button("Stop", size="md", visible=False)
                going = gr.Textbox("", visible=False)
            recent = card()
        with gr.Column(scale=1, min_width=280, elem_classes="ts-stack"):
            with gr.Column(elem_classes="ts-card ts-card--soft"):
                html(cardhead("See it work") + muted(SEE_IT))
                button = gr.Button("Run the demo", variant="primary", size="md")
            machine = card()
    return button, [notes, top, strip, running, opened, halt, going, recent, machine], halt, going
