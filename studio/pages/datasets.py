"""Datasets: the list and a place to drop a file; with `?id=` one dataset, as a model reads it."""

from typing import Any

import gradio as gr

from studio.core.catalog import STARTER_REPO
from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases import versions
from studio.core.use_cases.building import read_recipe
from studio.core.use_cases.storage import of_dataset
from studio.shell.session import owner_of
from studio.ui import live
from studio.ui.dataset_view import KINDS, how_read, listing, title_of
from studio.ui.example_card import ExampleCard, Reader
from studio.ui.fields import told, whole
from studio.ui.findings_card import FindingsCard
from studio.ui.frame import QUIET, page
from studio.ui.going import go_to
from studio.ui.intake import Intake
from studio.ui.markup import NOTHING, Markup, card, cardhead, empty, head, html, link_button
from studio.ui.mix_card import MixCard
from studio.ui.models import choices
from studio.ui.notices import note_of, with_note
from studio.ui.upkeep_card import UpkeepCard
from studio.ui.versions_view import versions_card

ABOUT = "What models learn from. A file becomes a dataset when it is clear what its columns mean."
Updates = dict[Any, Any]


class View:
    """The components of the page: the list with its place for a file, and one dataset; one of the two is shown."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        self.top, self.words, self.going = html(head("Datasets")), html(visible=False), html(visible=False)
        self.dataset, self.version = gr.Textbox("", visible=False), gr.Textbox("", visible=False)
        with gr.Column(elem_classes="ts-card", visible=False) as self.drop_box:
            html(cardhead("A new dataset", Markup('<span class="ts-muted">{}</span>').format(KINDS)))
            self.intake = Intake()
        with gr.Row(elem_classes=["ts-split", "ts-dataset"], visible=False) as self.box:
            with gr.Column(scale=2, elem_classes="ts-stack"):
                self.example = ExampleCard()
                self.versions = card(NOTHING, "ts-late")
                self.upkeep = UpkeepCard(self.dataset, self.version)
            with gr.Column(scale=1, min_width=300, elem_classes="ts-stack"):
                self.findings = FindingsCard(self.version)
                self.read = card()
        with gr.Column(elem_classes="ts-card", visible=False) as self.list_box:
            self.rows = html()
            self.mix = MixCard()

    @property
    def outputs(self) -> list[Any]:
        """What a load of the page fills."""
        own = [self.top, self.words, self.dataset, self.version, self.drop_box, self.box, self.list_box, self.rows]
        cards = [*self.findings.outputs, *self.upkeep.outputs, *self.mix.outputs]
        return [*own, self.read, self.versions, self.example.model, self.example.number, *cards]


class Desk:
    """The handlers of the page."""

    def __init__(self, services: Services, view: View) -> None:
        """`services` are the stores, `view` the components."""
        self.services, self.view = services, view
        self.reader = Reader(services)

    def fill(self, request: gr.Request) -> Updates:
        """The list, or the one dataset that the address names."""
        owner, asked = owner_of(request), request.query_params
        try:
            if not asked.get("id"):
                return self._list(owner)
            newest = self.services.datasets.get(asked["id"], owner)
            shown = self._named(newest, asked.get("version", ""), owner)
        except NotFound as error:
            words = empty(error.problem, error.remedy, link_button("All datasets", "/datasets"))
            return self._shown(False) | {self.view.rows: str(words), self.view.drop_box: gr.update(visible=False)}
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return {self.view.words: told(note_of(error))}
        models = choices(self.services.settings, owner)
        model = gr.update(choices=models, value=STARTER_REPO, visible=len(models) > 1)
        example = whole((asked.get("example", "").isdigit() and int(asked["example"][:9])) or 1)
        return self._one(shown, newest) | {self.view.example.model: model, self.view.example.number: example}

    def again(self, version: str, request: gr.Request) -> Updates:
        """The dataset once more, after a change has made another version."""
        owner = owner_of(request)
        try:
            shown = self.services.datasets.version(version, owner)
            return self._one(shown, self.services.datasets.get(shown.dataset_id, owner))
        except Exception as error:
            return {self.view.words: told(note_of(error))}

    def measure(self, request: gr.Request, version: str, model: Any, longest: Any) -> Updates:
        """How long the examples are, and what the model makes of them."""
        one = self.reader.one(request, version)
        if one is None:
            return {self.view.example.lengths_words: told(NOTHING)}
        try:
            lengths = self.reader.measure(request, version, model, longest)
            found = self.reader.findings(one, model, longest)
            newest = self.services.datasets.get(one.dataset_id, one.owner).id == one.id
        except Exception as error:  # what another model made of them does not count any more
            said = {self.view.example.lengths_words: told(note_of(error))}
            return said | self.view.findings.of_model([], one, newest=False)
        said = {self.view.example.lengths: lengths, self.view.example.lengths_words: told(NOTHING)}
        return said | self.view.findings.of_model(found, one, newest)

    def made(self, request: gr.Request, version_id: str) -> Any:
        """Go to the dataset that was just made."""
        if not version_id:
            return gr.skip()
        found = self.services.datasets.version(version_id, owner_of(request))
        return told(go_to("/datasets", id=found.dataset_id))

    def _named(self, newest: DatasetVersion, version: str, owner: str) -> DatasetVersion:
        """The version that the address names, while it is one of this dataset; else the newest."""
        try:
            found = self.services.datasets.version(version, owner) if version else newest
        except NotFound:
            return newest
        return found if found.dataset_id == newest.dataset_id else newest

    def _list(self, owner: str) -> Updates:
        datasets = self.services.datasets.of(owner)
        rows = {self.view.rows: str(listing(datasets)), self.view.top: str(head("Datasets", ABOUT))}
        return self._shown(False) | rows | self.view.mix.drawn(datasets)

    def _one(self, one: DatasetVersion, newest: DatasetVersion) -> Updates:
        is_newest, view = one.id == newest.id, self.view
        every = versions.of(self.services, one.owner, one.dataset_id)
        users = self.services.datasets.users(one.dataset_id, one.owner)
        return (
            self._shown(True)
            | {
                view.top: str(title_of(one, newest)),
                view.dataset: one.dataset_id,
                view.version: one.id,
                view.read: str(how_read(one, of_dataset(self.services, one.id))),
                view.versions: str(versions_card(every, one, users)),
            }
            | view.findings.drawn(one, is_newest)
            | view.upkeep.drawn(one, is_newest, read_recipe(self.services, one).reading)
        )

    def _shown(self, one: bool) -> Updates:
        """Which parts of the page are there: one dataset, or the list with the place for a file."""
        view = self.view
        parts = {view.drop_box: not one, view.box: one, view.list_box: not one}
        return {**{part: gr.update(visible=shown) for part, shown in parts.items()}, view.words: told(NOTHING)}


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Datasets", "/datasets", live=chip):
        view = View()
        wire(studio, Desk(services, view))


def wire(studio: gr.Blocks, desk: Desk) -> None:
    """What happens when."""
    view, card_ = desk.view, desk.view.example
    inputs = [view.version, card_.model, card_.view, card_.number, card_.longest]
    shown = [card_.caption, card_.seen, card_.number, card_.seen_words]
    see = with_note(desk.reader.see, 3, shown=True)
    measured = [view.version, card_.model, card_.longest]
    lengths = [card_.lengths, card_.lengths_words, *view.findings.model_outputs]
    filled = [studio.load(desk.fill, None, view.outputs, **QUIET)]
    fixes = view.findings.wire(desk.services, desk.reader.findings, [card_.model, card_.longest])
    for event in (*fixes, *view.upkeep.wire(desk.services)):
        filled.append(event.then(desk.again, view.version, view.outputs, **QUIET))
    for event in filled:
        event.then(see, inputs, shown, **QUIET)
        event.then(desk.measure, measured, lengths, **QUIET)
    again = [card_.view.input, card_.model.input, card_.number.submit, card_.number.input, card_.longest.input]
    gr.on(again, see, inputs, shown, trigger_mode="always_last", **QUIET)
    gr.on(
        [card_.model.input, card_.longest.input], desk.measure, measured, lengths, trigger_mode="always_last", **QUIET
    )
    for button, by in ((card_.back, -1), (card_.on, 1)):
        button.click(with_note(desk.reader.turn(by), 3, shown=True), inputs, shown, **QUIET)
    view.mix.wire(desk.services)
    for event in view.intake.wire(desk.services):
        event.then(with_note(desk.made, 1, shown=True), view.intake.made, [view.going, view.words], **QUIET)
