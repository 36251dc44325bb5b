"""Playground: one question, the same seed, the base model and the tuned one at once, both streamed."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from studio.core.artifacts import new_id
from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.shell.session import owner_of
from studio.ui import chat_view, live
from studio.ui.chat_view import MOST_PROMPTS, WAKING, options_of, prompts_of, ready_runs, speed, speed_line
from studio.ui.duet import Answering, Duet, Stop, sing
from studio.ui.fields import Choice, told
from studio.ui.frame import QUIET, page
from studio.ui.going import go_to
from studio.ui.markup import NOTHING, Markup, Text, cardhead, empty, head, html, link_button, muted, note
from studio.ui.notices import note_of, with_note
from studio.ui.plain_chat import Chat, PlainChat
from studio.ui.units import count

ABOUT = "One question, the same seed, both models at once."
STOPPED = "Stopped by you."
NOT_ASKED = "Nothing asked yet"


class Room:
    """The components of the page."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        self.tab, self.run_id = (gr.Textbox("", visible=False) for _ in range(2))
        self.nothing = html(visible=False)
        with gr.Column(visible=False, elem_classes="ts-stack") as self.box:
            with gr.Column(elem_classes="ts-card", visible=False) as self.pick:
                self.runs = Choice([], label="Tuned by the run", interactive=True)
            with gr.Row(elem_classes="ts-panes"):
                (self.heads, self.chats, self.speeds) = zip(
                    *(self.pane(name) for name in ("Base", "Tuned")), strict=True
                )
            self.ask_card()

    @staticmethod
    def pane(name: str) -> tuple[gr.HTML, PlainChat, gr.HTML]:
        """One model's side: who answers, the chat, how fast it was."""
        with gr.Column(elem_classes="ts-card", min_width=300):
            top = html(cardhead(name))
            chat = PlainChat(
                [], show_label=False, label=f"{name} model", height=240, buttons=[], container=False,
                render_markdown=False, elem_classes="ts-chat", placeholder="",
            )  # fmt: skip
            return top, chat, html(speed(NOT_ASKED))

    def ask_card(self) -> None:
        """The question, its buttons, and the drawer."""
        with gr.Column(elem_classes="ts-card"):
            self.ask = gr.Textbox(label="Ask both", placeholder="Ask what your examples ask", lines=2, max_lines=6)
            with gr.Row(elem_classes="ts-buttons"):
                self.send, self.stop = gr.Button("Send", variant="primary", size="md"), gr.Button("Stop", size="md")
                self.again, self.clear = gr.Button("Ask again", size="md"), gr.Button("Clear", size="md")
            self.words = html(visible=False)
            self.held = html(visible=False)
            with gr.Row(elem_classes="ts-buttons"):
                self.prompts = [gr.Button("", size="sm", visible=False) for _ in range(MOST_PROMPTS)]
            with gr.Accordion("How they answer", open=False, elem_classes="ts-drawer"):
                self.system = gr.Textbox(
                    label="System prompt", info="Said to both before the first question.", lines=2, max_lines=6
                )
                with gr.Row(elem_classes="ts-fields"):
                    self.options = [
                        gr.Number(
                            0.0, step=0.1, label="Temperature", info="0 always takes the likeliest word. Up to 2."
                        ),
                        gr.Number(1.0, step=0.05, label="Top p", info="Less is safer. Up to 1."),
                        gr.Number(256, step=16, label="Longest answer", info="In tokens."),
                        gr.Number(42, step=1, label="Seed", info="The same seed gives the same answer."),
                    ]


class Desk:
    """The handlers of the page."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores and the way to the engine."""
        self.services = services
        self.answering = Answering()

    def fill(self, request: gr.Request) -> list[Any]:
        """The run that the address names, else the newest one with an adapter; or what to do where there is none."""
        runs = ready_runs(self.services, owner_of(request))
        asked = request.query_params.get("run", "")
        run = next((one for one in runs if one.id == asked), None)
        if asked and run is None:
            return self._nothing(self._why_not(asked, owner_of(request)))
        run = run or next(iter(runs), None)
        if run is None:
            text = "Train a run first. When it has finished, you talk to it here, beside the model it came from."
            return self._nothing(empty("Nobody to talk to yet", text, link_button("New run", "/new")))
        run = self.services.runs.get(run.id, run.owner)  # whole: a list of runs leaves the prompts out
        prompts = prompts_of(run)
        choice = gr.update(choices=[(one.name, one.id) for one in runs], value=run.id)
        buttons = [gr.update(value=one.label, visible=True) for one in prompts]
        buttons += [gr.update(visible=False)] * (MOST_PROMPTS - len(prompts))
        held = gr.update(value=str(muted("Held-out examples, new to both:")), visible=bool(prompts))
        system = prompts[0].system if prompts else ""
        parts = [gr.update(visible=one) for one in (False, True, len(runs) > 1)]
        return [new_id(), run.id, *parts, choice, *map(str, heads_of(run)), held, system, *buttons]

    def _why_not(self, run_id: str, owner: str) -> Markup:
        try:
            run = self.services.runs.get(run_id, owner)
        except NotFound as error:
            return empty(error.problem, error.remedy, link_button("All runs", "/runs"))
        there = link_button("Open the run", f"/run?id={run.id}")
        return empty(f"{run.name} has no adapter yet", "It can be asked when it has finished.", there)

    @staticmethod
    def _nothing(words: Markup) -> list[Any]:
        shown = gr.update(value=str(words), visible=True)
        return ["", "", shown, gr.update(visible=False), *(gr.skip() for _ in range(6 + MOST_PROMPTS))]

    def answer(self, request: gr.Request, tab: str, run_id: str, question: str, *values: Any) -> Iterator[list[Any]]:
        """Stream both answers: the question's box, both panes, both lines beneath, the note."""
        system, base, tuned, *drawer = values
        chats, question = (base, tuned), str(question or "").strip()
        if not question:
            yield [*(gr.skip() for _ in range(5)), told(note("plain", "Nothing is asked", "Write a question first."))]
            return
        try:
            run, options = self.services.runs.get(run_id, owner_of(request)), options_of(drawer)
            messages = [chat_view.asked(chat, str(system or ""), question) for chat in chats]
            yield ["", *(chat_view.shown(chat, question, "") for chat in chats), *[str(speed(WAKING))] * 2, told("")]
            song = sing(self.services, run, messages, options)
            with self.answering.begin(f"{run.owner} {tab}") as stop, closing(song):
                yield from stream(song, stop, chats, question)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            yield [question, *chats, *[str(speed("Nothing was said"))] * 2, told(note_of(error))]

    def stop(self, tab: str, request: gr.Request) -> None:
        """End the answer that is being made; what was said so far stays."""
        self.answering.end(f"{owner_of(request)} {tab}")

    def clear(self, tab: str, request: gr.Request) -> list[Any]:
        """End the answer and empty both panes."""
        self.answering.end(f"{owner_of(request)} {tab}", clear=True)
        return blank()

    def again(self, tab: str, base: Chat, tuned: Chat, request: gr.Request) -> list[Any]:
        """Both panes before their last question, and that question in its box; an answer that goes on is ended."""
        self.answering.end(f"{owner_of(request)} {tab}")
        (first, asked), (second, other) = chat_view.last_question(base), chat_view.last_question(tuned)
        question = other or asked
        return [first, second, question] if question else [gr.skip()] * 3

    def prompt(self, number: int) -> Callable[..., list[Any]]:
        """A handler that puts the held-out prompt `number` into the box, with its system message, for a fresh chat.

        Fresh, because the model learnt to answer it as the first question, and the reference is for that.
        """

        def put(tab: str, run_id: str, request: gr.Request) -> list[Any]:
            found = prompts_of(self.services.runs.get(run_id, owner_of(request)))
            if number >= len(found):
                return [gr.skip()] * 7
            self.answering.end(f"{owner_of(request)} {tab}", clear=True)
            return [found[number].system, found[number].asked, *blank()[1:]]

        return put


def heads_of(run: Run) -> tuple[Markup, Markup]:
    """Who answers on the left and on the right."""
    steps = (run.result or {}).get("steps") or run.step
    tuned = f"Tuned, {count(steps, 'step')}"
    return named(live.base_name(run), "Base model"), named(run.name, tuned)


def named(title: Text, words: str) -> Markup:
    """The head of a pane."""
    return cardhead(title, Markup('<span class="ts-muted">{}</span>').format(words))


def stream(song: Iterator[Duet], stop: Stop, chats: tuple[Chat, Chat], question: str) -> Iterator[list[Any]]:
    """Updates while the answers come, until they end or a button ends them.

    A tick without news keeps the line open and changes nothing.
    """
    before: list[Any] = []
    for duet in song:
        if stop.asked.is_set():
            yield blank() if stop.clear else drawn(duet, chats, question, [speed(STOPPED)] * 2)
            return
        now = [(pane.text, pane.done) for pane in duet.panes]
        if now == before or not duet.awake:
            yield [gr.skip()] * 6
            continue
        before = now
        yield drawn(duet, chats, question, [speed_line(pane) for pane in duet.panes])


def drawn(duet: Duet, chats: tuple[Chat, Chat], question: str, lines: list[Markup]) -> list[Any]:
    """Both panes with what was said until now, the lines beneath them, and a note of what went wrong."""
    panes = [chat_view.shown(chat, question, pane.text) for chat, pane in zip(chats, duet.panes, strict=True)]
    faults = [note_of(pane.error) for pane in duet.panes if pane.error]
    return [gr.skip(), *panes, *map(str, lines), told(faults[0] if faults else NOTHING)]


def blank() -> list[Any]:
    """Nothing asked: the box of the question stays, the panes, their lines and the note are empty."""
    return [gr.skip(), [], [], *[str(speed(NOT_ASKED))] * 2, told("")]


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Playground", "/playground", live=chip):
        html(head("Playground", ABOUT))
        room = Room()
        wire(studio, Desk(services), room)


def wire(studio: gr.Blocks, desk: Desk, room: Room) -> None:
    """What happens when."""
    parts = [room.nothing, room.box, room.pick]
    filled = [room.tab, room.run_id, *parts, room.runs, *room.heads, room.held, room.system, *room.prompts]
    studio.load(with_note(desk.fill, len(filled), shown=True), None, [*filled, room.words], **QUIET)
    room.runs.input(lambda run_id: told(go_to("/playground", run=str(run_id))), room.runs, room.words, **QUIET)
    inputs = [room.tab, room.run_id, room.ask, room.system, *room.chats, *room.options]
    outputs = [room.ask, *room.chats, *room.speeds, room.words]
    gr.on([room.send.click, room.ask.submit], desk.answer, inputs, outputs, **QUIET)
    before = room.again.click(desk.again, [room.tab, *room.chats], [*room.chats, room.ask], **QUIET)
    before.then(desk.answer, inputs, outputs, **QUIET)
    room.stop.click(desk.stop, room.tab, None, **QUIET)
    room.clear.click(desk.clear, room.tab, outputs, **QUIET)
    for number, button in enumerate(room.prompts):
        button.click(desk.prompt(number), [room.tab, room.run_id], [room.system, *outputs], **QUIET)
