"""Datasets: the list and a place to drop a file; with `?id=` one dataset, as a model reads it."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.core.catalog import STARTER_REPO
from studio.core.errors import NotFound
from studio.core.models import here
from studio.core.services import Services
from studio.core.starter import source
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.storage import of_dataset
from studio.shell.session import owner_of
from studio.ui import live
from studio.ui.dataset_view import how_read, listing, title_of
from studio.ui.fields import Choice, told, whole
from studio.ui.frame import QUIET, page
from studio.ui.going import go_to
from studio.ui.mapping import draw_intake, wire_intake
from studio.ui.markup import Markup, card, cardhead, empty, head, html, join, link_button, muted
from studio.ui.models import choices
from studio.ui.notices import with_note
from studio.ui.sight import Sight
from studio.ui.tokens import histogram, token_view

SEEN_TITLE = "What the model sees"
LENGTHS_TITLE = "How long the examples are"
ABOUT = "What models learn from. A file becomes a dataset when you say what its columns mean."
NOT_HERE = (
    "The starter model is not on this machine yet: it is fetched with the first run. Then every token stands here."
)
COUNTING = "Counting tokens…"


class Desk:
    """The handlers of the page: the dataset's id in, updates out."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores; examples that were shown are kept for a while."""
        self.services = services
        self.sight = Sight(services)

    def fill(self, request: gr.Request) -> list[Any]:
        """The list, or the one dataset that the address names."""
        owner, asked = owner_of(request), request.query_params.get("id", "")
        if not asked:
            return self._list(head("Datasets", ABOUT), listing(self.services.datasets.of(owner)))
        try:
            found = self.services.datasets.get(asked, owner)
        except NotFound as error:
            words = empty(error.problem, error.remedy, link_button("All datasets", "/datasets"))
            return [*self._list(head("Datasets"), words)[:2], *visible(False, False, True), "", gr.skip(), gr.skip()]
        models = choices(self.services.settings)
        model = gr.update(choices=models, value=STARTER_REPO, visible=len(models) > 1)
        read = str(how_read(found, of_dataset(self.services, found.id)))
        return [str(title_of(found)), "", *visible(False, True, False), found.dataset_id, model, read]

    @staticmethod
    def _list(top: Markup, words: Markup) -> list[Any]:
        return [str(top), str(words), *visible(True, False, True), "", gr.skip(), gr.skip()]

    def see(self, request: gr.Request, dataset_id: str, model: Any, view: Any, number: Any) -> list[Any]:
        """The example with `number` (from 1) as the model reads it, and which one it is."""
        dataset = self._one(request, dataset_id)
        if dataset is None:
            return [gr.skip(), gr.skip(), gr.skip()]
        repo, total = str(model or STARTER_REPO), dataset.examples
        index = (whole(number) - 1) % total
        if not self._is_here(repo):
            return [str(self._caption(repo)), str(muted(NOT_HERE)), gr.skip()]
        seen = self.sight.example(dataset, repo, index)
        where = muted(f"Example {index + 1:,} of {total:,}, row {seen['row']:,} of the file")
        return [str(self._caption(repo)), str(join([where, token_view(seen, str(view))])), index + 1]

    def turn(self, by: int) -> Callable[..., list[Any]]:
        """A handler for the next example (`by` 1), or the one before (-1); the first follows the last."""

        def turned(request: gr.Request, dataset_id: str, model: Any, view: Any, number: Any) -> list[Any]:
            return self.see(request, dataset_id, model, view, whole(number) + by)

        return turned

    def measure(self, request: gr.Request, dataset_id: str, model: Any) -> Any:
        """How long the examples are for this model."""
        dataset, repo = self._one(request, dataset_id), str(model or STARTER_REPO)
        if dataset is None:
            return gr.skip()
        if not self._is_here(repo):
            return str(join([cardhead(LENGTHS_TITLE), muted(NOT_HERE)]))
        counts, cut_at = self.sight.lengths(dataset, repo)
        cut = f"{counts['cut']:,} would be cut" if counts["cut"] else "none would be cut"
        about = Markup('<span class="ts-muted">{:,} tokens on average, {}</span>').format(counts["average"], cut)
        return str(join([cardhead(LENGTHS_TITLE, about), histogram(counts, cut_at)]))

    def made(self, request: gr.Request, version_id: str) -> Any:
        """Go to the dataset that was just made."""
        if not version_id:
            return gr.skip()
        found = self.services.datasets.version(version_id, owner_of(request))
        return told(go_to("/datasets", id=found.dataset_id))

    def _one(self, request: gr.Request, dataset_id: str) -> DatasetVersion | None:
        try:
            return self.services.datasets.get(dataset_id, owner_of(request)) if dataset_id else None
        except NotFound:
            return None

    def _is_here(self, repo: str) -> bool:
        return repo != STARTER_REPO or source(self.services.settings) is not None

    def _caption(self, repo: str) -> Markup:
        name = next((ref.name for ref in here(self.services.settings) if ref.repo == repo), "the starter model")
        return cardhead(SEEN_TITLE, Markup('<span class="ts-muted">Template of {}</span>').format(name))


def visible(*shown: bool) -> list[Any]:
    """Updates that show or hide the parts of the page: the place for a file, one dataset, the list."""
    return [gr.update(visible=one) for one in shown]


class View:
    """The components of one dataset."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        with gr.Row(elem_classes="ts-split", visible=False) as self.box:
            with gr.Column(scale=2, elem_classes="ts-stack"):
                with gr.Column(elem_classes="ts-card"):
                    self.caption = html(cardhead(SEEN_TITLE))
                    self.model = Choice([], label="As which model reads it", interactive=True, visible=False)
                    with gr.Row(elem_classes="ts-buttons"):
                        ways = ["Tokens", "Text"]
                        self.view = gr.Radio(
                            ways, value="Tokens", label="View", show_label=False, container=False, elem_classes="ts-seg"
                        )
                        self.back, self.on = gr.Button("Previous", size="sm"), gr.Button("Next", size="sm")
                    self.seen = html(muted(COUNTING))
                    self.seen_words = html(visible=False)
                with gr.Column(elem_classes="ts-card"):
                    self.lengths = html(join([cardhead(LENGTHS_TITLE), muted(COUNTING)]))
                    self.lengths_words = html(visible=False)
            with gr.Column(scale=1, min_width=300, elem_classes="ts-stack"):
                self.read = card()


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""
    desk = Desk(services)

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "Datasets", "/datasets", live=chip):
        top, words, going = html(head("Datasets")), html(visible=False), html(visible=False)
        dataset_id, number = gr.Textbox("", visible=False), gr.Number(1, visible=False)
        with gr.Column(elem_classes="ts-card", visible=False) as drop_box:
            html(cardhead("A new dataset", Markup('<span class="ts-muted">CSV, JSONL or JSON</span>')))
            intake = draw_intake()
        view = View()
        with gr.Column(elem_classes="ts-card", visible=False) as list_box:
            rows = html()
        places = [top, rows, drop_box, view.box, list_box, dataset_id, view.model, view.read, words]
        filled = studio.load(with_note(desk.fill, 8, shown=True), None, places, **QUIET)
        shown = [view.caption, view.seen, number, view.seen_words]
        inputs = [dataset_id, view.model, view.view, number]
        see = with_note(desk.see, 3, shown=True)
        measured = with_note(desk.measure, 1, shown=True)
        lengths = [view.lengths, view.lengths_words]
        filled.then(see, inputs, shown, **QUIET)
        filled.then(measured, [dataset_id, view.model], lengths, **QUIET)
        gr.on([view.view.input, view.model.input], see, inputs, shown, **QUIET)
        view.model.input(measured, [dataset_id, view.model], lengths, **QUIET)
        for button, by in ((view.back, -1), (view.on, 1)):
            button.click(with_note(desk.turn(by), 3, shown=True), inputs, shown, **QUIET)
        wire_intake(intake, services).then(with_note(desk.made, 1, shown=True), intake.made, [going, words], **QUIET)
