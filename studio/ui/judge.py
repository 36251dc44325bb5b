"""What a person makes of the answers: a vote, an own version of one, and a dataset of all of them."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.core.errors import NotFound, Refused
from studio.core.services import Services
from studio.core.stores.chats import ALIKE, Chat, Turn
from studio.core.use_cases.judging import make
from studio.shell.session import owner_of
from studio.ui.chat_view import MOST_PANES
from studio.ui.fields import told
from studio.ui.markup import Markup, cardhead, join, link, muted, note
from studio.ui.notices import note_of
from studio.ui.settling import targets, turn_of
from studio.ui.spoken import drawn_pane, talk
from studio.ui.units import count

MOST_LETTERS = 100_000


class Judge:
    """The handlers. Each is followed by one that draws what it changed."""

    def __init__(self, services: Services, title: Callable[[str], Callable[[str], str]]) -> None:
        """`title` gives, for an owner, the words for who answers."""
        self.services = services
        self.title = title

    def meant(self, owner: str, chat_id: str, number: Any) -> tuple[Chat, Turn]:
        """The open chat and the question that is meant. Raises `NotFound`."""
        chat = self.services.chats.get(str(chat_id), owner)
        turn = turn_of(chat, number)
        if turn is None:
            raise NotFound("Nothing was asked in this chat.", "Ask first.")
        return chat, turn

    def vote(self, best: int) -> Callable[..., list[Any]]:
        """A handler that keeps the vote for a pane, or for none; pressed again it takes it back."""

        def handler(chat_id: str, number: str, request: gr.Request) -> list[Any]:
            owner = owner_of(request)
            chat, turn = self.meant(owner, chat_id, number)
            if best != ALIKE and best not in turn.answers:
                raise Refused("This pane has not answered.", "Choose another one.")
            self.services.chats.vote(chat.id, owner, turn.number, None if turn.best == best else best)
            return []

        return handler

    def edit(self, pane: int) -> Callable[..., list[Any]]:
        """A handler that opens the editor with the answer of a pane: its box, its head, the text, the pane."""

        def handler(chat_id: str, number: str, request: gr.Request) -> list[Any]:
            owner = owner_of(request)
            chat, turn = self.meant(owner, chat_id, number)
            if pane not in turn.answers:
                raise NotFound("There is no such answer.", "Ask again.")
            said, who = turn.answers[pane], self.title(owner)(chat.panes[pane])
            head = cardhead(Markup("Edit the answer of {}").format(who))
            shown = gr.update(visible=True), str(head), said.text, gr.update(visible=said.edited is not None)
            return [*shown, str(pane)]

        return handler

    def save(self, chat_id: str, number: str, pane: str, text: str, request: gr.Request) -> list[Any]:
        """Keep the person's version; the model's own text again takes it back."""
        words = str(text or "").strip()
        if not words:
            raise Refused("The answer is empty.", "Write what it should have said, or cancel.")
        if len(words) > MOST_LETTERS:
            raise Refused("The answer is too long.", f"Keep it to {MOST_LETTERS:,} characters.")
        return self.put(chat_id, number, pane, str(text), request)

    def put(self, chat_id: str, number: str, pane: str, text: str | None, request: gr.Request) -> list[Any]:
        """Write a version, or none, and give the talks of all panes."""
        owner = owner_of(request)
        chat, turn = self.meant(owner, chat_id, number)
        place = int(pane) if str(pane).isdecimal() else -1
        if place not in turn.answers:
            raise NotFound("There is no such answer.", "Open it again.")
        same = text is not None and text == turn.answers[place].content
        self.services.chats.edit(chat.id, owner, turn.number, place, None if same else text)
        now, title = self.services.chats.get(chat.id, owner), self.title(owner)
        talks = [str(talk(drawn_pane(now.turns, n), title(name))) for n, name in enumerate(now.panes)]
        return [*talks, *(gr.skip() for _ in range(MOST_PANES - len(talks)))]

    def restore(self, chat_id: str, number: str, pane: str, request: gr.Request) -> list[Any]:
        """Back to what the model said."""
        return self.put(chat_id, number, pane, None, request)

    def retarget(self, kind: str, request: gr.Request) -> Any:
        """Where examples of the chosen kind can go."""
        return gr.update(choices=targets(self.services, owner_of(request), kind), value="")

    def make(self, kind: str, target: str, request: gr.Request) -> Any:
        """Make the dataset; the note says what came of it."""
        owner = owner_of(request)
        try:
            if kind not in ("preferences", "answers"):
                raise Refused("No kind of example is chosen.", "Choose one.")
            version = make(self.services, owner, "answers" if kind == "answers" else "preferences", str(target or ""))
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return told(note_of(error))
        held = f", {version.held_out:,} held out to check" if version.held_out else ""
        links = join([link("Look at it", f"/datasets?id={version.dataset_id}"), " · ",
                      link("Train on it", f"/new?dataset={version.dataset_id}")])  # fmt: skip
        title = (
            f"{version.name}, version {version.number}" if version.number > 1 else f"{version.name} is a dataset now"
        )
        return told(note("good", title, f"{count(version.examples, 'example')}{held}.", muted(links)))
