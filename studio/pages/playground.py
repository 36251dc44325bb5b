"""Playground: one question, the same seed, up to three models at once: the base, what was trained on it, on the way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from studio.core.artifacts import new_id
from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.stores.chats import ALIKE, Chat
from studio.core.stores.runs import Run
from studio.core.use_cases.panes import BASE, Seating, Voice, askable, seating
from studio.shell.session import owner_of
from studio.ui import live
from studio.ui.asking import Asking, blank, frame, shown
from studio.ui.chat_view import Prompt, choice_of, held_out, named
from studio.ui.fields import told
from studio.ui.frame import QUIET, page
from studio.ui.going import go_to
from studio.ui.judge import Judge
from studio.ui.markup import NOTHING, Markup, empty, head, html, link_button, muted, note
from studio.ui.notices import note_of, with_note
from studio.ui.prompt_view import read_by
from studio.ui.room import PLACES, Room
from studio.ui.settling import places, settled

ABOUT = "One question, the same seed, all models at once."
NOBODY = empty(
    "Nobody to talk to yet",
    "Train a run first. When it has finished, you talk to it here, beside the model it came from.",
    link_button("New run", "/new"),
)
Updates = dict[Any, Any]


class Desk:
    """The handlers that know the whole page. Most give updates by component."""

    def __init__(self, services: Services, room: Room) -> None:
        """`services` are the stores and the way to the engine."""
        self.services, self.room = services, room
        self.asking = Asking(services)
        self.judge = Judge(services, self.asking.title)

    def fill(self, request: gr.Request) -> Updates:
        """What the address names: a chat, a run; else the newest run with an adapter; or what to do without one."""
        try:
            owner, asked = owner_of(request), request.query_params
            chat = self.asking.kept(owner, asked.get("chat", ""))
            runs = askable(self.services, owner)
            run_id = asked.get("run", "") or (chat.run_id if chat else "") or ""
            run = next((one for one in runs if one.id == run_id), None)
            if run is None and (asked.get("run") or not runs):
                return self.nothing(self.why_not(run_id, owner) if asked.get("run") else NOBODY)
            # Read whole: a list of runs leaves the prompts out.
            run = self.services.runs.get((run or runs[0]).id, owner)
            return self.opened(owner, run, chat, bool(asked.get("ask"))) | self.bases(runs, run)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return self.nothing(note_of(error))

    def opened(self, owner: str, run: Run, chat: Chat | None, ask: bool) -> Updates:
        """The page with a chat open, or about to `ask` the first held-out prompt, or fresh."""
        room, prompts = self.room, held_out(self.services, run)
        seats = seating(self.services, owner, run, chat.panes if chat else ())
        if chat is not None and chat.run_id != run.id:  # its run is gone: it can be read
            seats = replace(seats, voices=())
        first = prompts[0] if prompts and ask and chat is None else None
        chat = chat or (self.same(owner, seats, first) if first else None)
        auto = first.asked if first and chat is None else ""
        system = chat.system if chat else prompts[0].system if prompts else ""
        talks, lines = shown(seats, chat)
        frames = frame(chat.id if chat else "", "", auto, talks, lines, NOTHING)
        values = {room.tab: new_id(), room.home: run.id, room.auto: auto and "1", room.form.system: system}
        parts = {room.nothing: gr.update(visible=False), room.box: gr.update(visible=True)}
        told_now = dict(zip(frame_of(room), frames, strict=True))
        return {**values, **parts, **self.seated(seats), **self.prompts(prompts), **told_now}

    def same(self, owner: str, seats: Seating, prompt: Prompt) -> Chat | None:
        """The chat that began with this prompt, where the page is opened with it once more: nobody is asked again."""
        for one in self.services.chats.of(owner, 20):
            if one.panes == seats.names and one.system == prompt.system:
                chat = self.services.chats.get(one.id, owner)
                if chat.turns and chat.turns[0].asked == prompt.asked.strip():
                    return chat
        return None

    def why_not(self, run_id: str, owner: str) -> Markup:
        """Why a run can not be asked."""
        try:
            run = self.services.runs.get(run_id, owner)
        except NotFound as error:
            return empty(error.problem, error.remedy, link_button("All runs", "/runs"))
        there = link_button("Open the run", f"/run?id={run.id}")
        return empty(f"{run.name} has no adapter yet", "It can be asked from its first checkpoint on.", there)

    def nothing(self, words: Markup) -> Updates:
        """The page with these words alone."""
        return {self.room.nothing: gr.update(value=str(words), visible=True), self.room.box: gr.update(visible=False)}

    def seated(self, seats: Seating) -> Updates:
        """How many panes, who is in each, their heads and columns."""
        room, voices, choices = self.room, seats.seated, [choice_of(one) for one in seats.voices]
        spare = [one.name for one in seats.voices if one.name not in seats.names] or [BASE]
        found: Updates = {room.count: str(len(voices))}
        for n in PLACES:
            there = n < len(voices)
            value = voices[n].name if there else spare[0]
            found[room.who[n]] = gr.update(choices=choices, value=value, visible=there)
            found[room.panes[n].head] = str(named(voices[n])) if there else ""
            found[room.panes[n].column] = gr.update(visible=there)
        return found

    def bases(self, runs: Sequence[Run], run: Run) -> Updates:
        """The base models that runs came from, each as its newest run."""
        first: dict[tuple[str, str], Run] = {(run.base_repo, run.base_revision): run}
        for one in runs:
            first.setdefault((one.base_repo, one.base_revision), one)
        choices = [(live.base_name(one), one.id) for one in first.values()]
        return {self.room.bases: gr.update(choices=choices, value=run.id, visible=len(choices) > 1)}

    def prompts(self, prompts: Sequence[Prompt]) -> Updates:
        """The line above the held-out prompts, and a button each."""
        held = gr.update(value=str(muted("Held-out examples, new to all of them:")), visible=bool(prompts))
        found: Updates = {self.room.held: held}
        for n, button in enumerate(self.room.prompts):
            found[button] = gr.update(value=prompts[n].label if n < len(prompts) else "", visible=n < len(prompts))
        return found

    def choose(self, request: gr.Request, tab: str, chat_id: str, home: str, count: Any, *values: Any) -> Updates:
        """Others at the table: a fresh chat, the last question ready to be asked of them."""
        *who, ask = values
        owner = owner_of(request)
        try:
            chat = self.asking.kept(owner, chat_id)
            seats = self.asking.seats(owner, None, home, count, who)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return {self.room.words: told(note_of(error))}
        self.asking.answering.end(f"{owner} {tab}", clear=True)
        box = str(ask or "") or (chat.turns[-1].asked if chat and chat.turns else "")
        return self.seated(seats) | dict(zip(frame_of(self.room), blank(box), strict=True))

    def settle(self, request: gr.Request, chat_id: str, home: str, number: Any) -> list[Any]:
        """All around the panes, from the records."""
        owner = owner_of(request)
        chat, title = self.asking.kept(owner, chat_id), self.asking.title(owner)
        voices: list[Voice] = []
        if chat is not None and home:
            voices = seating(self.services, owner, self.services.runs.get(home, owner), chat.panes).seated
        return settled(self.services, owner, chat, voices, title, number)

    def change(self, request: gr.Request, chat_id: str, number: Any) -> list[Any]:
        """The question that is meant goes back into its box; what came after it stays until it is sent."""
        chat, turn = self.judge.meant(owner_of(request), chat_id, number)
        after = len([one for one in chat.turns if one.number > turn.number])
        more = f" What came after it ({after}) then goes." if after else ""
        words = note("plain", "You edit a question", f"Send asks it anew, in its place.{more}")
        return [str(turn.number), turn.asked, gr.update(visible=True), told(words)]

    def delete(self, request: gr.Request, tab: str, chat_id: str) -> list[Any]:
        """Delete the open chat for good."""
        owner = owner_of(request)
        self.asking.answering.end(f"{owner} {tab}", clear=True)
        self.services.chats.delete(str(chat_id), owner)
        return blank()

    def look(self, request: gr.Request, chat_id: str, home: str, count: Any, *values: Any) -> Any:
        """The exact prompt of each pane, of the question in the box or of the last one."""
        *who, question, system = values
        try:
            owner = owner_of(request)
            chat = self.asking.kept(owner, chat_id)
            seats = self.asking.seats(owner, chat, home, count, who)
            return told(read_by(self.services, owner, seats, chat, str(question or ""), str(system or "")))
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return told(note_of(error))


def frame_of(room: Room) -> list[Any]:
    """The parts that answering changes, in the order of `frame`."""
    return [room.chat, room.place, room.ask, *room.talks, *room.speeds, room.words]


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Playground", "/playground", live=chip):
        html(head("Playground", ABOUT))
        room = Room()
        desk = Desk(services, room)
        wire_asking(studio, desk, room)
        wire_judging(desk, room)
        wire_table(desk, room)


def settle_after(event: Any, desk: Desk, room: Room, closes: bool = True, stays: bool = False) -> None:
    """Draw what stands around the panes once `event` is over.

    `closes` what is being edited, too; `stays` at the question that is meant now, else it is the last one.
    """
    shown_parts = [*places(room), *((room.edit_box, room.unchanged) if closes else ())]

    def settle(request: gr.Request, chat_id: str, home: str, number: Any) -> list[Any]:
        return [
            *desk.settle(request, chat_id, home, number if stays else None),
            *[gr.update(visible=False)] * (2 if closes else 0),
        ]

    inputs = [room.chat, room.home, room.turn]
    event.then(with_note(settle, len(shown_parts), shown=True), inputs, [*shown_parts, room.fault], **QUIET)


def wire_asking(studio: gr.Blocks, desk: Desk, room: Room) -> None:
    """Opening the page, sending, stopping, asking again."""
    asking, outputs = desk.asking, frame_of(room)
    inputs = [room.tab, room.chat, room.place, *room.names, room.ask, room.form.system, *room.form.fields]
    room.form.wire(**QUIET)
    opened = studio.load(desk.fill, None, list({*filled(room)}), **QUIET)
    first = opened.then(asking.first, [room.auto, *inputs], outputs, **QUIET)
    settle_after(opened, desk, room)
    settle_after(first, desk, room)
    settle_after(gr.on([room.send.click, room.ask.submit], asking.answer, inputs, outputs, **QUIET), desk, room)
    put = with_note(asking.again, 2, shown=True)
    before = room.again.click(put, [room.tab, room.chat], [room.place, room.ask, room.words], **QUIET)
    settle_after(before.then(asking.answer, inputs, outputs, **QUIET), desk, room)
    room.stop.click(asking.stop, room.tab, None, **QUIET)
    settle_after(room.clear.click(asking.clear, room.tab, outputs, **QUIET), desk, room)
    for number, button in enumerate(room.prompts):
        put = with_note(asking.prompt(number), 1 + len(outputs), shown=True)
        chosen = button.click(put, [room.tab, room.home], [room.form.system, *outputs, room.fault], **QUIET)
        settle_after(chosen.then(asking.answer, inputs, outputs, **QUIET), desk, room)
    for n, pane in enumerate(room.panes):
        settle_after(pane.more.click(asking.go_on(n), inputs, outputs, **QUIET), desk, room)


def filled(room: Room) -> list[Any]:
    """All that opening the page may change."""
    values = [room.tab, room.home, room.auto, room.nothing, room.box, room.form.system, room.count, room.bases]
    panes = [part for pane in room.panes for part in (pane.head, pane.column)]
    return [*values, *room.who, *panes, room.held, *room.prompts, *frame_of(room)]


def wire_judging(desk: Desk, room: Room) -> None:
    """Votes, edited answers, the dataset of them."""
    judge, meant = desk.judge, [room.chat, room.turn]
    for best, button in [*enumerate(room.best), *((ALIKE, one) for one in room.alike)]:
        vote = with_note(judge.vote(best), 0, shown=True)
        settle_after(button.click(vote, meant, room.words, **QUIET), desk, room, closes=False, stays=True)
    editor = [room.edit_box, room.edit_head, room.edited, room.original, room.editing]
    for n, pane in enumerate(room.panes):
        pane.edit.click(with_note(judge.edit(n), len(editor), shown=True), meant, [*editor, room.words], **QUIET)
    for button, act in ((room.save, judge.save), (room.original, judge.restore)):
        given = [*meant, room.editing, *([room.edited] if button is room.save else [])]
        done = button.click(with_note(act, len(room.talks), shown=True), given, [*room.talks, room.words], **QUIET)
        settle_after(done, desk, room, stays=True)
    room.leave.click(lambda: gr.update(visible=False), None, room.edit_box, **QUIET)
    room.kind.input(judge.retarget, room.kind, room.target, **QUIET)
    busy = room.make.click(lambda: told(muted("Making the dataset…")), None, room.made, **QUIET)
    busy.then(judge.make, [room.kind, room.target], room.made, **QUIET)


def wire_table(desk: Desk, room: Room) -> None:
    """Who answers, which question is meant, what they read, earlier chats."""
    table = [room.tab, room.chat, *room.names, room.ask]
    changed = [part for part in filled(room) if part not in (room.tab, room.home, room.auto, room.form.system)]
    chosen = [room.count.input, *(who.input for who in room.who)]
    settle_after(gr.on(chosen, desk.choose, table, changed, **QUIET), desk, room)
    room.bases.input(lambda run_id: told(go_to("/playground", run=str(run_id))), room.bases, room.words, **QUIET)
    settle_after(room.turn.input(lambda: None, None, None, **QUIET), desk, room, stays=True)
    edit = [room.place, room.ask, room.unchanged]
    put = with_note(desk.change, 4, shown=True)
    room.change.click(put, [room.chat, room.turn], [*edit, room.words, room.fault], **QUIET)
    back = ["", "", gr.update(visible=False), told(NOTHING)]
    room.unchanged.click(lambda: back, None, [*edit, room.words], **QUIET)
    reading = [room.chat, *room.names, room.ask, room.form.system]
    busy = room.look.click(lambda: told(muted("Asking the models…")), None, room.read, **QUIET)
    busy.then(desk.look, reading, room.read, **QUIET)
    sure = [room.delete, room.sure, room.spare]
    room.delete.click(lambda: [gr.update(visible=shown) for shown in (False, True, True)], None, sure, **QUIET)
    room.spare.click(lambda: [gr.update(visible=shown) for shown in (True, False, False)], None, sure, **QUIET)
    gone = with_note(desk.delete, len(frame_of(room)), shown=True)
    settle_after(room.sure.click(gone, [room.tab, room.chat], [*frame_of(room), room.fault], **QUIET), desk, room)
