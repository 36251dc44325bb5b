"""API keys, `/keys`: what programs are called here, which of them have a key, make one, revoke one."""

from typing import Any

import gradio as gr

from studio.core.services import Services
from studio.core.stores.keys import MOST_KEYS, ApiKey
from studio.core.use_cases.keys import LONGEST_NAME, make_key, needs_key
from studio.core.use_cases.named_models import NamedModel, models_of
from studio.shell.session import owner_of
from studio.ui import live
from studio.ui.code_card import address_of, code_block
from studio.ui.frame import QUIET, page
from studio.ui.markup import NOTHING, Markup, cardhead, facts, head, html, join, muted, note, when
from studio.ui.notices import with_note

TEXT = "Programs that speak to OpenAI can speak to your models: give them this studio's address, and a key."
OPEN = "This studio answers this machine alone, so any key, or none, is accepted. Nobody needs one from you."
CLOSED = "Others can reach this studio, so a program brings a key of yours with every question."
ONCE = "It is shown this once. Only a hash of it is kept: who loses it makes another."
SURE = "What uses it is refused from then on."


def key_row(key: ApiKey) -> Markup:
    """One key: its name, its end, when it was made and used."""
    used = Markup("used {}").format(when(key.last_used_at)) if key.last_used_at else "not used yet"
    return Markup('<div class="ts-key"><b>{}</b> <code>…{}</code><p class="ts-muted">Made {}, {}</p></div>').format(
        key.name, key.hint, when(key.created_at), used
    )


def rows_of(keys: list[ApiKey]) -> list[Any]:
    """The rows of the list, each with its hidden id, and the words where there is none."""
    updates: list[Any] = [live.shown(NOTHING if keys else muted("No key was made yet."))]
    for number in range(MOST_KEYS):
        key = keys[number] if number < len(keys) else None
        updates += [gr.update(visible=key is not None), str(key_row(key)) if key else "", key.id if key else ""]
    return updates


def reach_words(needed: bool, address: str) -> Markup:
    """Where programs ask, and whether they need a key."""
    words = note("plain", "A key is needed", CLOSED) if needed else note("good", "No key is needed", OPEN)
    base = facts([("Base URL", Markup("<code>{}/v1</code>").format(address))], "ts-facts--rows")
    return cardhead("Where programs ask") + words + base


def model_words(models: list[NamedModel]) -> Markup:
    """The names of what can be asked."""
    names = join(Markup("<li><code>{}</code></li>").format(model.name) for model in models)
    return cardhead("What they can ask") + Markup('<ul class="ts-names">{}</ul>').format(names)


def made_words(secret: str) -> Markup:
    """The new key, this once."""
    return note("good", "Your new key", ONCE) + code_block(secret, "key")


class Keys:
    """The components. `rows` are box, words and hidden id of each key."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        with gr.Row(elem_classes="ts-split"):
            with gr.Column(scale=2, elem_classes="ts-stack"), gr.Column(elem_classes="ts-card"):
                html(cardhead("Your keys"))
                self.none = html(visible=False)
                self.rows = [self._row() for _ in range(MOST_KEYS)]
                self._sure()
                self.made = html(visible=False)
                with gr.Row(elem_classes="ts-mixrow"):
                    self.name = gr.Textbox(
                        label="Name", info="Of the program that will use it.", max_length=LONGEST_NAME, scale=2
                    )
                    self.make = gr.Button("Make a key", variant="primary", size="md", scale=0, min_width=140)
            with gr.Column(scale=1, min_width=280, elem_classes="ts-stack"):
                with gr.Column(elem_classes="ts-card"):
                    self.reach = html()
                with gr.Column(elem_classes="ts-card"):
                    self.models = html()

    @staticmethod
    def _row() -> tuple[gr.Row, gr.HTML, gr.Textbox, gr.Button]:
        with gr.Row(visible=False, elem_classes="ts-keyrow") as box:
            words, key_id = html(), gr.Textbox("", visible=False)
            button = gr.Button("Revoke", size="sm", scale=0, min_width=88)
        return box, words, key_id, button

    def _sure(self) -> None:
        """Revoking takes two clicks: it can not be undone."""
        self.chosen = gr.Textbox("", visible=False)
        with gr.Row(elem_classes="ts-buttons ts-sure", visible=False) as self.sure:
            self.named = html()
            self.gone = gr.Button("Revoke it for good", variant="stop", size="sm")
            self.keep = gr.Button("Keep it", size="sm")

    @property
    def listed(self) -> list[Any]:
        """The places of `rows_of`."""
        return [self.none, *(part for row in self.rows for part in row[:3])]


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "API keys", "/keys", nav="Runs", live=chip) as timer:
        html(head("API keys", TEXT, crumb="Runs"))
        words, said = html(visible=False), html(visible=False)  # of loading and ticks; of the buttons, which stays
        wire(studio, services, Keys(), (timer, words, said))


def wire(studio: gr.Blocks, services: Services, keys: Keys, parts: tuple[gr.Timer, gr.HTML, gr.HTML]) -> None:
    """What happens when. `parts` are the page's timer, the place of what ticks say, the place of what buttons say."""
    (timer, words, said), stamp = parts, gr.Textbox("", visible=False)

    def listed(stamp: str, request: gr.Request) -> list[Any]:
        owner = owner_of(request)
        reach = reach_words(needs_key(services), address_of(request))
        shown = [*rows_of(services.keys.of(owner)), reach, model_words(models_of(services, owner))]
        return live.changed(shown, stamp)

    def make(name: str, request: gr.Request) -> list[Any]:
        _, secret = make_key(services, owner_of(request), str(name or ""))
        return [live.shown(made_words(secret)), ""]

    def asked(key_id: str, request: gr.Request) -> list[Any]:
        name = next((key.name for key in services.keys.of(owner_of(request)) if key.id == key_id), "this key")
        return [key_id, str(muted(Markup("Revoke <b>{}</b>? {}").format(name, SURE))), gr.update(visible=True)]

    def revoke(key_id: str, request: gr.Request) -> list[Any]:
        services.keys.revoke(str(key_id), owner_of(request))
        return [gr.update(visible=False), live.shown(NOTHING)]

    places = [*keys.listed, keys.reach, keys.models, stamp]
    look = with_note(listed, len(places), shown=True)
    gr.on([studio.load, timer.tick], look, stamp, [*places, words], **QUIET)
    made = gr.on(
        [keys.make.click, keys.name.submit],
        with_note(make, 2, shown=True), keys.name, [keys.made, keys.name, said], **QUIET,
    )  # fmt: skip
    ended = keys.gone.click(with_note(revoke, 2, shown=True), keys.chosen, [keys.sure, keys.made, said], **QUIET)
    for event in (made, ended):
        event.then(look, stamp, [*places, words], **QUIET)
    keys.keep.click(lambda: gr.update(visible=False), None, keys.sure, **QUIET)
    for _, _, key_id, button in keys.rows:
        button.click(asked, key_id, [keys.chosen, keys.named, keys.sure], **QUIET)
