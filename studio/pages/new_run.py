"""New run: base model, dataset, settings on the left; what will happen, and Start, on the right."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio.core.artifacts import new_id
from studio.core.errors import Faults
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.use_cases.submit import submit
from studio.shell.session import owner_of
from studio.ui import live, run_form
from studio.ui.fields import Choice, field, told
from studio.ui.frame import QUIET, page
from studio.ui.going import address, go_to
from studio.ui.intake import Intake
from studio.ui.markup import NOTHING, Markup, cardhead, head, html, join, link, muted, note
from studio.ui.model_card import ModelCard
from studio.ui.models import Book, about_model, choices, facts_or_none
from studio.ui.notices import note_of, with_note
from studio.ui.outlook import Outlook, chosen, outlook, refused, waiting
from studio.ui.run_form import GROUPS, KNOBS, REVISION

NOT_ASKED = "It is looked up when you choose it again or press Start."


class Form:
    """The components of the form and of the panel beside it."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        self.key = gr.Textbox(visible=False)
        self.told = html(visible=False)
        with gr.Row(elem_classes="ts-split"):
            with gr.Column(scale=2, elem_classes="ts-stack"):
                self.model_card()
                self.intake: Intake
                self.dataset_card()
                self.settings: list[Any] = self.settings_card()
            with gr.Column(scale=1, min_width=320, elem_classes="ts-card ts-sticky"):
                self.panel = html(cardhead("What will happen"))
                self.after = Choice([(run_form.IN_TURN, "")], label="Starts", value="", interactive=True, visible=False)
                self.faults = html(visible=False)
                self.start = gr.Button("Start", variant="primary", size="lg", interactive=False)
                self.why = html()

    def model_card(self) -> None:
        """Card 1."""
        with gr.Column(elem_classes="ts-card"):
            html(cardhead(numbered(1, "Base model")))
            self.card = ModelCard()
            self.model, self.about = self.card.model, self.card.about

    def dataset_card(self) -> None:
        """Card 2."""
        with gr.Column(elem_classes="ts-card"):
            self.inside = html(dataset_head(""))
            self.dataset = Choice([], label="From your datasets", interactive=True)
            self.intake = Intake()

    def settings_card(self) -> list[Any]:
        """Card 3: the settings in the order of `KNOBS`."""
        drawn = {}
        with gr.Column(elem_classes="ts-card"):
            html(cardhead(numbered(3, "Settings")))
            self.name = gr.Textbox(label="Name", placeholder="The dataset's name, if you leave this empty", max_lines=1)
            with gr.Row(elem_classes="ts-fields"):
                drawn.update({knob.path: field(knob) for knob in KNOBS if knob.level == "basic"})
            with gr.Accordion("Every setting", open=False, elem_classes="ts-drawer"):
                for group, words in GROUPS.items():
                    html(Markup("<h3>{}</h3>").format(words))
                    with gr.Row(elem_classes="ts-fields"):
                        inside = [k for k in KNOBS if k.level != "basic" and k.path.startswith(f"{group}.")]
                        drawn.update({knob.path: field(knob) for knob in inside})
        return [drawn[knob.path] for knob in KNOBS]


def numbered(number: int, title: str) -> Markup:
    """A card's title with its number."""
    return Markup("<i>{}</i>{}").format(number, title)


def dataset_head(address_: str) -> Markup:
    """The title of the dataset's card, with the way to what is chosen."""
    return cardhead(numbered(2, "Dataset"), link("Look inside", address_ or "/datasets"))


def first_look(book: Book, repo: str, revision: str, owner: str) -> Markup:
    """The model's facts while the page loads: as far as nobody has to be asked for them."""
    try:
        found = book.known(repo, revision, owner)
    except Exception as error:  # the door of a page: nothing may pass it unsaid
        return note_of(error)
    return about_model(found) if found else muted(NOT_ASKED)


def panel_of(services: Services, book: Book, owner: str, form: tuple[Any, ...]) -> Outlook:
    """The panel for the form's values (model, dataset, settings)."""
    repo, version_id, *settings = form
    if not str(repo or "").strip():
        return waiting("Steps and time stand here once the base model is known.", "Start waits for a base model.")
    try:
        raw = run_form.raw_config(repo, settings)
    except Faults as error:
        return refused(list(error.faults))
    found = facts_or_none(book, raw["base"]["repo"], str(settings[REVISION]), owner)
    return outlook(services, owner, raw, str(version_id) if version_id else None, found)


def queued(run: Run) -> Markup:
    """That the run waits for its turn; the tab goes there."""
    there = link("Open it", address("/run", id=run.id))
    return join([note("good", f"{run.name} is queued", there), go_to("/run", id=run.id)])


class Desk:
    """The handlers of the page: values of the form in, updates out."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores; what was looked up of models is kept for the panel."""
        self.services = services
        self.book = Book(services.settings)

    def fill(self, request: gr.Request) -> list[Any]:
        """The first values, at load: no network is asked for them."""
        owner, asked, settings = owner_of(request), request.query_params, self.services.settings
        values = run_form.first_values(self.services, owner, asked.get("from", ""), asked.get("dataset", ""))
        words = told(note_of(values.problem) if values.problem else NOTHING)
        model = gr.update(choices=choices(settings, owner), value=values.repo)
        dataset = gr.update(choices=run_form.dataset_choices(self.services, owner), value=values.version_id)
        about = first_look(self.book, values.repo, str(values.settings[REVISION]), owner)
        waits = run_form.after_choices(self.services, owner)
        after = gr.update(choices=waits, value="", visible=len(waits) > 1)
        return [new_id(), words, model, str(about), dataset, values.name, after, *values.settings]

    def follow(self, request: gr.Request, *values: Any) -> list[Any]:
        """The panel for the form as it stands."""
        seen = panel_of(self.services, self.book, owner_of(request), values)
        return [str(seen.panel), gr.update(interactive=seen.may_start), str(seen.why)]

    def inside(self, version_id: Any, request: gr.Request) -> str:
        """The way to the dataset that is chosen now."""
        found = chosen(self.services, owner_of(request), str(version_id or "") or None)
        return str(dataset_head(address("/datasets", id=found.dataset_id, version=found.id) if found else ""))

    def chosen(self, made: str, request: gr.Request) -> Any:
        """The dataset that was just made, chosen among the person's."""
        if not made:
            return gr.skip()
        return gr.update(choices=run_form.dataset_choices(self.services, owner_of(request)), value=made)

    def begin(self, request: gr.Request, *values: Any) -> Iterator[Any]:
        """Queue the run and go to it, or say everything that is wrong; the form stays as it is."""
        key, name, after, repo, version_id, *settings = values
        yield told(muted("Checking and queueing…")), gr.skip()
        try:
            order = run_form.order_of(key, name, repo, version_id, settings, after)
            run = submit(self.services, owner_of(request), order)
            yield told(queued(run)), gr.update(interactive=False)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            yield told(note_of(error)), gr.skip()


def draw(studio: gr.Blocks, services: Services) -> None:
    """Draw the page and wire it."""

    def chip() -> Any:
        return live.chip(services, owner_of(None))

    with page(studio, "New run", "/new", live=chip):
        html(head("New run", "Three choices. Everything else has a good default."))
        form = Form()
        wire(studio, Desk(services), form)


def wire(studio: gr.Blocks, desk: Desk, form: Form) -> None:
    """What happens when."""
    inputs = [form.model, form.dataset, *form.settings]
    panel = [form.panel, form.start, form.why, form.faults]
    followed = with_note(desk.follow, 3, shown=True)
    last: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    filled = [form.key, form.told, form.model, form.about, form.dataset, form.name, form.after, *form.settings]
    studio.load(desk.fill, None, filled, **QUIET).then(followed, inputs, panel, **last)
    gr.on([one.change for one in inputs], followed, inputs, panel, **last)
    for looked in form.card.wire(desk.services, desk.book, form.settings[REVISION]):
        looked.then(followed, inputs, panel, **last)
    for event in form.intake.wire(desk.services):
        event.then(desk.chosen, form.intake.made, form.dataset, **QUIET)
    form.dataset.change(desk.inside, form.dataset, form.inside, **QUIET)
    form.start.click(desk.begin, [form.key, form.name, form.after, *inputs], [form.faults, form.start], **QUIET)
