"""Card 1 of a new run: the base model. Local models first, the Hub as a person types, a token where one is needed."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from studio.core.errors import StudioError
from studio.core.hub import GatedModel, NoModel, is_hub_id
from studio.core.hub_models import HubModel
from studio.core.hub_search import search
from studio.core.services import Services
from studio.core.use_cases.token_models import fetch_with_token
from studio.shell.session import owner_of
from studio.ui.errands import Work
from studio.ui.fields import Choice
from studio.ui.frame import QUIET
from studio.ui.markup import NOTHING, Markup, html, join, muted, note
from studio.ui.models import Book, about_hub, about_model, choices, row_words
from studio.ui.notices import note_of
from studio.ui.working import Updates, Working

LABEL = "Search the Hub, or pick one that is here"
TOKEN_INFO = "From huggingface.co/settings/tokens. It fetches this model once and is kept nowhere."  # noqa: S105
SHORTEST = 2
PAUSE_S = 0.25
MOST_TABS = 1000
_MOVES = {
    "Enter",
    "Escape",
    "Tab",
    "ArrowUp",
    "ArrowDown",
    "ArrowLeft",
    "ArrowRight",
    "Shift",
    "Control",
    "Alt",
    "Meta",
}


class ModelCard:
    """The components: the choice, what it is, and, only where a model is closed, a place for a token."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        self.model = Choice([], label=LABEL, allow_custom_value=True, filterable=True, interactive=True)
        self.about = html()
        with gr.Column(visible=False) as self.closed:
            with gr.Row(elem_classes="ts-fields"):
                self.token = gr.Textbox(label="Your token for the Hub", info=TOKEN_INFO, type="password", max_lines=1)
            self.fetch = gr.Button("Fetch it with this token", size="sm", elem_classes="ts-cancel")
            self.work = Working()

    def wire(self, services: Services, book: Book, revision: Any, named: Sequence[Any] = ()) -> list[Any]:
        """Searching, looking up, fetching. The events after which the model is known, for the panel.

        After each of `named` another model may stand here, from elsewhere on the page.
        """
        desk = _Desk(services, book, self)
        last: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
        # Not "always_last": Gradio would send the first key's text again. The handler itself waits for the last key.
        self.model.key_up(desk.typed, None, self.model, trigger_mode="multiple", **QUIET)
        given = [self.model, revision]
        looked = gr.on([self.model.input, revision.submit, revision.blur], desk.look, given,
                       [self.about, self.closed, self.model], **last)  # fmt: skip
        outputs = [self.about, self.closed, self.token, self.model, *self.work.outputs]
        fetched = gr.on([self.fetch.click, self.token.submit], desk.bring, {*given, self.token}, outputs, **QUIET)
        self.work.wire()
        told = [event.then(desk.look, given, [self.about, self.closed], **last) for event in named]
        return [looked, fetched, *told]


class _Desk:
    """The handlers."""

    def __init__(self, services: Services, book: Book, at: ModelCard) -> None:
        self._services, self._book, self._at = services, book, at
        self._newest: dict[str, str] = {}

    def typed(self, key: gr.KeyUpData, request: gr.Request) -> Any:
        """The models here, then those on the Hub whose ids hold what was typed; quiet where it does not answer."""
        words = str(key.input_value or "").strip()
        if key.key in _MOVES or len(words) < SHORTEST or words.startswith(("/", "~")):
            return gr.skip()
        if not self._is_last(str(request.session_hash), words):
            return gr.skip()
        local = choices(self._services.settings, owner_of(request))
        known = {repo for _, repo in local}
        try:
            found = [(row_words(one), one.repo) for one in search(words) if one.repo not in known]
        except StudioError:
            found = []
        return gr.update(choices=[*local, *found])

    def _is_last(self, tab: str, words: str) -> bool:
        """Whether nothing else was typed in this tab for a moment."""
        if len(self._newest) >= MOST_TABS:
            self._newest.clear()
        self._newest[tab] = words
        time.sleep(PAUSE_S)
        return self._newest.get(tab) == words

    def look(self, repo: Any, revision: Any, request: gr.Request) -> Iterator[list[Any]]:
        """What the chosen model is; may ask the Hub."""
        name, at = str(repo or "").strip(), str(revision or "").strip() or "main"
        if not name:
            yield ["", gr.update(visible=False), gr.skip()]
            return
        local = choices(self._services.settings, owner_of(request))
        plain = [*local, *([] if name in {repo for _, repo in local} else [(name, name)])]  # the box shows the id alone
        yield [str(muted("Looking it up…")), gr.update(visible=False), gr.update(choices=plain)]
        words, is_closed = looked_up(lambda: about_model(self._book.ask(name, at, owner_of(request))), name)
        yield [str(words), gr.update(visible=is_closed), gr.skip()]

    def bring(self, values: dict[Any, Any], request: gr.Request) -> Iterator[Updates]:
        """Fetch the chosen model with the token, its progress told; the token leaves the page with the first update."""
        owner, at = owner_of(request), self._at
        name, token = str(values[at.model] or "").strip(), str(values[at.token] or "")
        revision = next((str(value) for part, value in values.items() if part not in (at.model, at.token)), "main")

        def work(progress: Callable[[float, str], None]) -> Markup:
            fetch_with_token(self._services, owner, name, revision, token, progress)
            return about_model(self._book.ask(name, revision, owner))

        def came(words: Any) -> Updates:
            local = choices(self._services.settings, owner)
            return {at.about: str(words), at.closed: gr.update(visible=False), at.model: gr.update(choices=local)}

        job: Work = work
        yield from at.work.go(owner, name, job, came, {at.token: ""})


def looked_up(ask: Callable[[], Markup], name: str) -> tuple[Markup, bool]:
    """What to say of a model, and whether a token may open it."""
    try:
        return ask(), False
    except GatedModel as error:
        about = about_hub(error.about) if isinstance(error.about, HubModel) else NOTHING
        page = Markup('<a class="ts-link" href="{}" target="_blank" rel="noopener">Its page on the Hub</a>')
        title = f"{name} is gated: its owner asks for an agreement first"
        there = join([page.format(error.page), ": agree there, then fetch it with a token of your account."])
        return join([about, note("warn", title, there)]), True
    except NoModel as error:
        near = "Did you mean" in error.remedy
        more = " If it is private, a token of its owner opens it." if is_hub_id(name) and not near else ""
        return note("bad", error.problem, error.remedy + more), is_hub_id(name) and not near
    except Exception as error:  # the door of a page: nothing may pass it unsaid
        return note_of(error), False
