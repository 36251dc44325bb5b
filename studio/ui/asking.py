"""Asking in the playground: one question to every pane, streamed, and kept once it has ended, however it ended."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from studio.core.engine_client import ChatOptions
from studio.core.errors import Conflict, NotFound, Refused
from studio.core.services import Services
from studio.core.stores.chats import Chat, Said, Turn, told_first
from studio.core.use_cases.panes import Seating, seating, title_of
from studio.shell.session import owner_of
from studio.ui.answer_form import options_of
from studio.ui.chat_view import MOST_PANES, NOT_ASKED, WAKING, facts_line, held_out, speed, speed_line
from studio.ui.fields import told
from studio.ui.markup import NOTHING, Markup, join, note
from studio.ui.notices import note_of
from studio.ui.spoken import asked_line, drawn_answer, drawn_pane, talk, told_line
from studio.ui.voices import Answering, Pane, Part, Voices, sing

FRAME = 4 + 2 * MOST_PANES
"""The chat's id, the turn that is asked anew, the question's box, each pane's talk and line, the note."""


def frame(
    chat: Any = None, place: Any = None, ask: Any = None, talks: Any = None, speeds: Any = None, words: Any = None
) -> list[Any]:
    """One update of what answering changes; what is not given stays. `talks` and `speeds` go by the pane's place."""
    talks, speeds = talks or {}, speeds or {}
    panes = [talks.get(n, gr.skip()) for n in range(MOST_PANES)]
    lines = [str(speeds[n]) if n in speeds else gr.skip() for n in range(MOST_PANES)]
    first = [gr.skip() if value is None else value for value in (chat, place, ask)]
    return [*first, *panes, *lines, gr.skip() if words is None else told(words)]


def blank(ask: Any = None) -> list[Any]:
    """Nothing asked: the panes, their lines and the note are empty."""
    places = range(MOST_PANES)
    lines = dict.fromkeys(places, speed(NOT_ASKED))
    return frame("", "", ask, {n: str(talk(NOTHING, "nobody")) for n in places}, lines, NOTHING)


@dataclass(frozen=True)
class Asked:
    """A question on its way: whose it is, who answers, in which turn of which chat, how."""

    key: str
    owner: str
    seats: Seating
    chat: Chat | None
    number: int
    question: str
    system: str
    options: ChatOptions
    only: int | None = None  # the pane whose answer goes on
    beside: bool = False  # a run is at work on this machine

    @property
    def places(self) -> list[int]:
        """The panes that answer."""
        return list(range(len(self.seats.names))) if self.only is None else [self.only]

    @property
    def begun(self) -> Said | None:
        """The answer that goes on."""
        turn = self.chat.turn(self.number) if self.chat and self.only is not None else None
        return turn.answers.get(self.only) if turn and self.only is not None else None

    def parts(self) -> list[Part]:
        """What each pane is asked."""
        found = []
        for n in self.places:
            before = self.chat.history(n, self.number) if self.chat else []
            messages = [*told_first(self.system), *before, {"role": "user", "content": self.question}]
            if self.begun:
                messages.append({"role": "assistant", "content": self.begun.content})
            found.append(Part(n, self.seats.names[n], messages, self.begun.content if self.begun else ""))
        return found

    def titles(self) -> list[str]:
        """Who sits where, in words."""
        return [voice.title for voice in self.seats.seated]

    def earlier(self) -> dict[int, Markup]:
        """What stands above this turn in each pane."""
        turns = [turn for turn in (self.chat.turns if self.chat else ()) if turn.number < self.number]
        return {n: drawn_pane(turns, n) for n in self.places}


def shown(seats: Seating, chat: Chat | None) -> tuple[dict[int, str], dict[int, Markup]]:
    """The talks and lines of a chat as it is kept."""
    talks, lines = {}, {}
    last = chat.turns[-1] if chat and chat.turns else None
    for n, voice in enumerate(seats.seated):
        talks[n] = str(talk(drawn_pane(chat.turns if chat else (), n), voice.title))
        said = last.answers.get(n) if last else None
        lines[n] = facts_line(said.facts) if said else speed("Nothing was said" if last else NOT_ASKED)
    return talks, lines


class Asking:
    """The handlers of asking, stopping, and what else is done with a question."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores and the way to the engine."""
        self.services = services
        self.answering = Answering()

    def seats(self, owner: str, chat: Chat | None, home: str, count: Any, who: Sequence[Any]) -> Seating:
        """Who answers: as the chat began, else as the page has it. Raises `NotFound`, `Conflict`, `Refused`."""
        run = self.services.runs.get(home, owner)
        if chat is not None and chat.run_id != run.id:
            raise Conflict("The run of this chat is gone.", "Open the playground anew for a fresh chat.")
        names = chat.panes if chat else [str(name) for name in who[: panes_of(count)] if name]
        found = seating(self.services, owner, run, names)
        if not names or any(voice.gone for voice in found.seated):
            raise Refused("One of these can not be asked any more.", "Open the playground anew, or choose another.")
        return found

    def kept(self, owner: str, chat_id: Any) -> Chat | None:
        """The open chat; none where none is. Raises `NotFound` where it was deleted."""
        return self.services.chats.get(str(chat_id), owner) if chat_id else None

    def answer(
        self, request: gr.Request, tab: str, chat_id: str, place: str, home: str, count: Any, *values: Any
    ) -> Iterator[list[Any]]:
        """Stream all answers to the question in the box."""
        *who, question, system = values[: MOST_PANES + 2]
        question = str(question or "").strip()
        if not question:
            yield frame(words=note("plain", "Nothing is asked", "Write a question first."))
            return
        try:
            owner = owner_of(request)
            chat, options = self.kept(owner, chat_id), options_of(values[MOST_PANES + 2 :])
            seats = self.seats(owner, chat, home, count, who)
            number = turn_number(chat, place)
            asked = Asked(f"{owner} {tab}", owner, seats, chat, number, question, str(system or ""), options)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            yield frame(words=note_of(error))
            return
        yield from self.safely(asked)

    def first(self, request: gr.Request, auto: str, *values: Any) -> Iterator[list[Any]]:
        """Ask what the address asks, once the page is there; nothing otherwise."""
        if auto:
            yield from self.answer(request, *values)
        else:
            yield frame()

    def go_on(self, pane: int) -> Callable[..., Iterator[list[Any]]]:
        """A handler that continues the last answer of a pane where it was cut."""

        def handler(
            request: gr.Request, tab: str, chat_id: str, place: str, home: str, count: Any, *values: Any
        ) -> Iterator[list[Any]]:
            del place
            try:
                owner = owner_of(request)
                chat = self.kept(owner, chat_id)
                if chat is None or not chat.turns or pane not in chat.turns[-1].answers:
                    raise NotFound("There is no answer to continue.", "Ask first.")
                last = chat.turns[-1]
                options = replace(options_of(values[MOST_PANES + 2 :]), continue_final=True)
                seats = self.seats(owner, chat, home, count, ())
                key = f"{owner} {tab}"
                asked = Asked(key, owner, seats, chat, last.number, last.asked, chat.system, options, pane)
            except Exception as error:  # the door of a page: nothing may pass it unsaid
                yield frame(words=note_of(error))
                return
            yield from self.safely(asked)

        return handler

    def safely(self, asked: Asked) -> Iterator[list[Any]]:
        """Stream; where it can not be answered, all is as it was, the question in its box, and the note says why."""
        try:
            ours = not self.services.settings.engine_url  # else another machine answers
            yield from self.sung(replace(asked, beside=ours and bool(self.services.runs.live())))
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            talks, lines = shown(asked.seats, asked.chat)
            box = asked.question if asked.only is None else None
            yield frame(ask=box, talks=talks, speeds=lines, words=note_of(error))

    def sung(self, asked: Asked) -> Iterator[list[Any]]:
        """Updates while the answers come, until they end or a button ends them. A tick without news changes nothing."""
        before, seen, voices = asked.earlier(), None, None
        yield drawn(asked, before, None)
        with self.answering.begin(asked.key) as stop:
            song = sing(self.services, asked.owner, asked.parts(), asked.options, asked.seats.wanted)
            try:
                with closing(song):
                    for voices in song:
                        if stop.asked.is_set():
                            break
                        now = [(pane.text, pane.done) for pane in voices.panes.values()]
                        yield frame() if now == seen or not voices.awake else drawn(asked, before, voices)
                        seen = now if voices.awake else None
            finally:
                chat_id = self.keep(asked, voices)
        yield blank() if stop.clear else self.ended(asked, chat_id, voices)

    def keep(self, asked: Asked, voices: Voices | None) -> str:
        """Write down what was said; the chat's id, empty where nothing was."""
        begun = asked.begun.content if asked.begun else ""
        found = {n: pane for n, pane in (voices.panes if voices else {}).items() if has_said(pane, begun)}
        if not found:
            return ""
        chats, chat = self.services.chats, asked.chat
        answers = {n: pane.said() for n, pane in found.items()}
        if asked.only is not None and chat is not None:
            turn = chat.turn(asked.number)
            answers = {**(turn.answers if turn else {}), **answers}
        chat_id = chat.id if chat else chats.add(asked.owner, asked.seats.home.id, asked.seats.names, asked.question)
        chats.put_turn(chat_id, asked.owner, asked.system, Turn(asked.number, asked.question, answers))
        return chat_id

    def ended(self, asked: Asked, chat_id: str, voices: Voices | None) -> list[Any]:
        """The last update: what is kept, and what went wrong."""
        faults = [pane.error for pane in (voices.panes.values() if voices else ()) if pane.error]
        words = note_of(faults[0]) if faults else NOTHING
        chat = self.kept(asked.owner, chat_id) if chat_id else asked.chat
        talks, lines = shown(asked.seats, chat)
        if voices is not None:
            lines |= {n: speed_line(pane) for n, pane in voices.panes.items() if pane.done}
        box = asked.question if not chat_id and asked.only is None else None
        return frame(chat_id or None, "", box, talks, lines, words)

    def stop(self, tab: str, request: gr.Request) -> None:
        """End the answer that is being made; what was said so far stays."""
        self.answering.end(f"{owner_of(request)} {tab}")

    def clear(self, tab: str, request: gr.Request) -> list[Any]:
        """End the answer and begin a new chat; the old one is kept among the earlier ones."""
        self.answering.end(f"{owner_of(request)} {tab}", clear=True)
        return blank()

    def again(self, tab: str, chat_id: str, request: gr.Request) -> list[Any]:
        """The last question as one to ask anew; an answer that goes on is ended."""
        owner = owner_of(request)
        self.answering.end(f"{owner} {tab}")
        chat = self.kept(owner, chat_id)
        return [str(chat.turns[-1].number), chat.turns[-1].asked] if chat and chat.turns else [gr.skip()] * 2

    def prompt(self, number: int) -> Callable[..., list[Any]]:
        """A handler that puts the held-out prompt `number` into the box, with its system message, for a fresh chat.

        Fresh, because the model learnt to answer it as the first question, and the reference is for that.
        """

        def put(tab: str, home: str, request: gr.Request) -> list[Any]:
            owner = owner_of(request)
            found = held_out(self.services, self.services.runs.get(home, owner))
            if number >= len(found):
                return [gr.skip()] * (1 + FRAME)
            self.answering.end(f"{owner} {tab}", clear=True)
            return [found[number].system, *blank(found[number].asked)]

        return put

    def title(self, owner: str) -> Callable[[str], str]:
        """Who a name is, in words."""
        names = {run.id: run.name for run in self.services.runs.of(owner)}
        return lambda name: title_of(names, name)


def panes_of(count: Any) -> int:
    """How many panes the page has; two where it says nothing sensible."""
    return int(count) if count in ("1", "2", "3") else 2


def turn_number(chat: Chat | None, place: Any) -> int:
    """The turn that a question becomes: the one that it is asked anew in, else the next."""
    numbers = [turn.number for turn in chat.turns] if chat else []
    if str(place).isdecimal() and int(place) in numbers:
        return int(place)
    return numbers[-1] + 1 if numbers else 0


def has_said(pane: Pane, begun: str) -> bool:
    """Whether anything came of it: words beyond what had `begun`, or a whole answer without any."""
    return pane.text != begun or (pane.done and pane.error is None)


def drawn(asked: Asked, before: dict[int, Markup], voices: Voices | None) -> list[Any]:
    """One update while answers come."""
    talks, lines = {}, {}
    titles = asked.titles()
    for n in asked.places:
        pane = voices.panes[n] if voices and voices.awake else Pane(asked.begun.content if asked.begun else "")
        lines[n] = speed_line(pane, asked.beside) if voices and voices.awake else speed(WAKING)
        now = asked_line(asked.question) + told_line(drawn_answer(pane.text))
        talks[n] = str(talk(join([before[n], now]), titles[n]))
    return frame(
        ask="" if asked.only is None else None, talks=talks, speeds=lines, words=NOTHING if voices is None else None
    )
