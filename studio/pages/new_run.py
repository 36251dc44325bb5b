"""New run: base model, dataset, settings on the left; what will happen, and Start, on the right."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from studio.core.artifacts import new_id
from studio.core.config import parse_config
from studio.core.errors import Faults
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.use_cases.continuing import here_faults
from studio.core.use_cases.submit import submit
from studio.shell.session import owner_of
from studio.ui import live, run_form, settings_card, taught_card
from studio.ui.fields import Choice, told
from studio.ui.frame import QUIET, page
from studio.ui.going import address, go_to
from studio.ui.intake import Intake
from studio.ui.markup import NOTHING, Markup, cardhead, head, html, join, link, muted, note
from studio.ui.model_card import ModelCard
from studio.ui.models import Book, about_model, choices, facts_or_none
from studio.ui.notices import note_of, with_note
from studio.ui.outlook import Outlook, chosen, outlook, refused, waiting
from studio.ui.run_form import REVISION, Filled
from studio.ui.settings_card import SettingsCard, SettingsDesk
from studio.ui.taught_card import TaughtCard, TaughtDesk

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
                self.card = SettingsCard()
                self.settings: list[Any] = self.card.fields
            with gr.Column(scale=1, min_width=320, elem_classes="ts-card ts-sticky"):
                self.panel = html(cardhead("What will happen"))
                self.after = Choice([(run_form.IN_TURN, "")], label="Starts", value="", interactive=True, visible=False)
                self.faults = html(visible=False)
                self.nearest = gr.Button("", size="lg", visible=False)
                self.start = gr.Button("Start", variant="primary", size="lg", interactive=False)
                self.why = html()
                self.pulse = gr.Timer(1, active=False)

    def model_card(self) -> None:
        """Card 1."""
        with gr.Column(elem_classes="ts-card"):
            html(cardhead(numbered(1, "Base model")))
            self.base = ModelCard()
            self.model, self.about = self.base.model, self.base.about

    def dataset_card(self) -> None:
        """Card 2."""
        with gr.Column(elem_classes="ts-card"):
            self.inside = html(dataset_head(""))
            self.dataset = Choice([], label="From your datasets", interactive=True)
            self.intake = Intake()
            self.taught = TaughtCard()


def numbered(number: int, title: str) -> Markup:
    """A card's title with its number."""
    return Markup("<i>{}</i>{}").format(number, title)


def dataset_head(address_: str) -> Markup:
    """The title of the dataset's card, with the way to what is chosen."""
    return cardhead(numbered(2, "Dataset"), link("Look inside", address_) if address_ else NOTHING)


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
        wrong = here_faults(services, owner, parse_config(raw))
    except Faults as error:
        return refused(list(error.faults))
    if wrong:
        return refused(wrong)
    found = facts_or_none(book, raw["base"]["repo"], str(settings[REVISION]), owner)
    return outlook(services, owner, raw, str(version_id) if version_id else None, found)


def queued(run: Run) -> Markup:
    """That the run waits for its turn; the tab goes there."""
    there = link("Open it", address("/run", id=run.id))
    return join([note("good", f"{run.name} is queued", there), go_to("/run", id=run.id)])


def opening(values: Filled, continues: bool) -> Markup:
    """What of the address meant nothing; or which run is had again, or trained further."""
    if values.problem:
        return note_of(values.problem)
    if values.source is None or not continues:
        return NOTHING
    there = link(values.source.name, address("/run", id=values.source.id))
    text = "The new run begins where that one ended, in an adapter of its own. Rank, scale and layers stay as they are."
    return note("plain", Markup("Trains the adapter of {} further").format(there), text)


class Desk:
    """The handlers of the page: values of the form in, updates out."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores; what was looked up of models is kept for the panel."""
        self.services = services
        self.book = Book(services.settings)
        self.settings = SettingsDesk(services, self.book)
        self.taught = TaughtDesk(services)

    def fill(self, request: gr.Request) -> list[Any]:
        """The first values, at load: no network is asked for them."""
        owner, asked, settings = owner_of(request), request.query_params, self.services.settings
        named = asked.get("from", ""), asked.get("dataset", ""), asked.get("continue", "")
        values = run_form.first_values(self.services, owner, *named)
        model = gr.update(choices=choices(settings, owner), value=values.repo)
        datasets = run_form.dataset_choices(self.services, owner)
        dataset = gr.update(choices=datasets, value=values.version_id, visible=bool(datasets))
        about = first_look(self.book, values.repo, str(values.settings[REVISION]), owner)
        waits = run_form.after_choices(self.services, owner)
        after = gr.update(choices=waits, value="", visible=len(waits) > 1)
        card = self.settings.first(owner, values)
        return [new_id(), told(opening(values, bool(named[2]))), model, str(about), dataset, values.name, after, *card]

    def follow(self, request: gr.Request, *values: Any) -> list[Any]:
        """The panel for the form as it stands."""
        seen = panel_of(self.services, self.book, owner_of(request), values)
        change = gr.update(value=seen.change.words if seen.change else "", visible=seen.change is not None)
        start = gr.update(interactive=seen.may_start)
        return [str(seen.panel), start, str(seen.why), change, gr.Timer(active=seen.measuring)]

    def fitted(self, request: gr.Request, *values: Any) -> list[Any]:
        """The settings with the nearest change that fits; as they are where there is none any more."""
        seen = panel_of(self.services, self.book, owner_of(request), values)
        part = seen.change.part if seen.change else {}
        asked = (knob.path.split(".") for knob in run_form.KNOBS)
        return [part.get(group, {}).get(name, gr.skip()) for group, name in asked]

    def inside(self, version_id: Any, request: gr.Request) -> str:
        """The way to the dataset that is chosen now."""
        found = chosen(self.services, owner_of(request), str(version_id or "") or None)
        return str(dataset_head(address("/datasets", id=found.dataset_id, version=found.id) if found else ""))

    def chosen(self, made: str, request: gr.Request) -> Any:
        """The dataset that was just made, chosen among the person's."""
        if not made:
            return gr.skip()
        choices = run_form.dataset_choices(self.services, owner_of(request))
        return gr.update(choices=choices, value=made, visible=True)

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


def counting(version_id: Any) -> Any:
    """Another dataset: what stands in the panel is of the one before, until its tokens are counted.

    Start stays as it is. A dropdown tells of one choice more than once: a click between would fall on a button that was
    just switched off, and be lost.
    """
    return str(muted("Counting what it holds…")) if version_id else gr.skip()


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
    panel = [form.panel, form.start, form.why, form.nearest, form.pulse, form.faults]
    followed = with_note(desk.follow, 5, shown=True)
    last: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    card = form.card
    filled = [form.key, form.told, form.model, form.about, form.dataset, card.name, form.after, card.preset, card.base]
    filled += form.settings
    loaded = studio.load(desk.fill, None, filled, **QUIET)
    loaded.then(followed, inputs, panel, **last)
    knobs = [one.change for one in inputs if one is not form.dataset]
    gr.on([*knobs, form.pulse.tick], followed, inputs, panel, **last)
    form.nearest.click(desk.fitted, inputs, form.settings, **QUIET)
    refitted = [card.preset, card.base, *form.settings]
    picked = form.dataset.change(counting, form.dataset, form.why, **QUIET)
    taught = picked.then(desk.settings.taught, [card.base, *inputs], refitted, **last)
    taught.then(followed, inputs, panel, **last)  # not before the method went along with the dataset
    read = settings_card.wire(card, desk.settings, form.model, form.dataset, loaded)
    for looked in form.base.wire(desk.services, desk.book, form.settings[REVISION], read):
        fitted = looked.then(desk.settings.refit, [card.base, *inputs], refitted, **last)
        fitted.then(followed, inputs, panel, **last)
    for event in form.intake.wire(desk.services):
        event.then(desk.chosen, form.intake.made, form.dataset, **QUIET)
    taught_card.wire(form.taught, desk.taught, form.model, form.dataset, form.settings)
    form.dataset.change(desk.inside, form.dataset, form.inside, **QUIET)
    form.start.click(desk.begin, [form.key, card.name, form.after, *inputs], [form.faults, form.start], **QUIET)
