"""The card "Settings" of a new run: how thorough, every setting in drawers, what differs and the way back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from studio.core.config import parse_config
from studio.core.config.applies import HANGING, SWITCHES, applies
from studio.core.config.continuing import KEPT
from studio.core.config.difference import Changed, flat
from studio.core.config.presets import BALANCED, NAMES, Scale
from studio.core.errors import Fault, Faults, NotFound
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.use_cases.continuing import here_faults
from studio.core.use_cases.submit import model_faults
from studio.shell.session import owner_of
from studio.ui import baseline, file_drawer, run_form
from studio.ui.baseline import Baseline
from studio.ui.fields import Pick, layer_choices, told
from studio.ui.fields import field as drawn_field
from studio.ui.file_drawer import FileDesk, FileDrawer
from studio.ui.frame import QUIET
from studio.ui.markup import Markup, cardhead, html, join, note
from studio.ui.models import Book, facts_or_none
from studio.ui.run_form import KNOBS, Filled, at
from studio.ui.units import count

EVERY = "Every setting"
MOST_SHOWN = 8
PARTS = ("Base model", "Adapter", "Where it learns", "Method", "Length", "Learning rate and optimizer", "Batch",
         "Memory and speed", "Checks and stopping", "Seed and records")  # fmt: skip


@dataclass
class SettingsCard:
    """The components. `fields` stand in the order of `KNOBS`; `base` is the hidden box with what they differ from."""

    fields: list[Any] = field(default_factory=list)
    drawers: list[Any] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)
    undo: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Drawn where it is made."""
        self.base = gr.Textbox("", visible=False)
        with gr.Column(elem_classes="ts-card"):
            html(cardhead(Markup("<i>3</i>Settings")))
            self.name = gr.Textbox(label="Name", placeholder="The dataset's name, if you leave this empty", max_lines=1)
            self.preset = Pick(
                baseline.cards(Scale()),
                value=BALANCED,
                label="How thorough",
                interactive=True,
                elem_classes="ts-choice",
            )
            self.said = html()
            with gr.Row(elem_classes=["ts-buttons", "ts-changes"], visible=False) as self.changed:
                self.undo = [gr.Button("", size="sm", visible=False) for _ in range(MOST_SHOWN)]
                self.back = gr.Button("Back", size="sm", visible=False)
            self._every()
            self.file = FileDrawer()
        self.places: list[Any] = [self.said, self.changed, self.back, *self.undo, *self.drawers, *self.notes]

    def _every(self) -> None:
        drawn: dict[str, Any] = {}
        with gr.Accordion(EVERY, open=False, elem_classes="ts-drawer") as every:
            with gr.Row(elem_classes="ts-fields"):
                drawn.update({knob.path: drawn_field(knob) for knob in KNOBS if knob.level == "basic"})
            for part in PARTS:
                with gr.Accordion(part, open=False, elem_classes=["ts-drawer", "ts-part"]) as drawer:
                    self.notes.append(html(visible=False))
                    with gr.Row(elem_classes="ts-fields"):
                        inside = [knob for knob in KNOBS if knob.part == part and knob.level != "basic"]
                        drawn.update({knob.path: drawn_field(knob) for knob in inside})
                self.drawers.append(drawer)
        self.drawers.append(every)
        self.fields = [drawn[knob.path] for knob in KNOBS]


class SettingsDesk:
    """The handlers of the card: values of the form in, updates out."""

    def __init__(self, services: Services, book: Book) -> None:
        """`book` knows the models that were looked up."""
        self.services = services
        self.book = book

    def first(self, owner: str, values: Filled) -> list[Any]:
        """The first values, at load: the preset's card, the baseline, and an update for every field."""
        given = list(values.settings)
        version = run_form.version_or_none(self.services, owner, values.version_id)
        if values.source is None:
            given[at("method.name")] = baseline.fitting_method("sft", version.mapping if version else None)
        scale = self.scale(owner, values.repo, values.version_id, given)
        choices = self._layers(owner, values.repo, given)
        choices["adapter.continue_from"] = run_form.adapter_choices(self.services, owner)
        if values.source is None:
            base = baseline.of_preset(BALANCED, scale)
            given = [base.values.get(knob.path, value) for knob, value in zip(KNOBS, given, strict=True)]
        else:
            config = run_form.plain_config(values.repo, given)
            base = baseline.of_config("run", values.source.name, config)
        chosen = BALANCED if values.source is None else None
        card = gr.update(choices=baseline.cards(scale), value=chosen)
        return [card, base.text(), *updates(by_path(given), choices)]

    def scale(self, owner: str, repo: Any, version_id: Any, settings: Sequence[Any]) -> Scale:
        """What the presets go by, as far as it is known without asking anybody."""
        facts = self.facts(owner, repo, settings)
        version = run_form.version_or_none(self.services, owner, version_id)
        held = 0
        if version:
            held = version.held_out or round(version.examples * run_form.EVAL_SHARE)
        return Scale(
            parameters=facts.parameters if facts else 0,
            context=facts.context if facts else 0,
            width=facts.width if facts else 0,
            examples=version.examples if version else 0,
            held_out=held,
            method=str(settings[at("method.name")]),
            tuner=str(settings[at("adapter.tuner")]),
        )

    def facts(self, owner: str, repo: Any, settings: Sequence[Any]) -> ModelFacts | None:
        """The model's facts, if they are known without asking anybody."""
        name = str(repo or "").strip()
        revision = str(settings[at("base.revision")] or "")
        return facts_or_none(self.book, name, revision, owner) if name else None

    def refit(self, request: gr.Request, base: Any, repo: Any, version_id: Any, *settings: Any) -> list[Any]:
        """Another model, dataset, method or tuner: the preset goes along, and leaves what a person set."""
        old, given = baseline.read(base), list(settings)
        scale = self.scale(owner_of(request), repo, version_id, given)
        card = gr.update(choices=baseline.cards(scale))
        choices = self._layers(owner_of(request), repo, given)
        if old.kind != "preset" or old.name not in NAMES:
            return [card, gr.skip(), *updates({}, choices)]
        new = baseline.of_preset(old.name, scale)
        changed = gr.skip() if new == old else new.text()
        return [card, changed, *updates(baseline.moved(old, new, by_path(given)), choices)]

    def taught(self, request: gr.Request, base: Any, repo: Any, version_id: Any, *settings: Any) -> list[Any]:
        """Another dataset: the method goes along with what it holds, and the preset with its size."""
        given, version = list(settings), run_form.version_or_none(self.services, owner_of(request), version_id)
        place, old = at("method.name"), baseline.read(base)
        before = given[place]
        if old.kind == "preset":
            given[place] = baseline.fitting_method(str(before), version.mapping if version else None)
        found = self.refit(request, base, repo, version_id, *given)
        if given[place] != before:
            found[2 + place] = gr.update(value=given[place])
        return found

    def take(self, request: gr.Request, name: Any, repo: Any, version_id: Any, *settings: Any) -> list[Any]:
        """A preset was chosen: what it sets, whatever stood there."""
        if name not in NAMES:
            return [gr.skip() for _ in range(1 + len(KNOBS))]
        new = baseline.of_preset(str(name), self.scale(owner_of(request), repo, version_id, settings))
        return [new.text(), *updates(new.values)]

    def back(self, base: Any, repo: Any, *settings: Any) -> list[Any]:
        """Every change taken back."""
        return updates({one.knob.path: one.before for one in self._changes(base, repo, settings)})

    def undo(self, place: int, base: Any, repo: Any, *settings: Any) -> list[Any]:
        """The change that stands at `place` taken back."""
        return updates({one.knob.path: one.before for one in self._changes(base, repo, settings)[place : place + 1]})

    def _changes(self, base: Any, repo: Any, settings: Sequence[Any]) -> list[Changed]:
        raw = run_form.plain_config(repo, settings)
        locked = KEPT if raw["adapter"]["continue_from"] else ()
        found = baseline.read(base).changes(raw)
        return [one for one in found if one.knob.path not in ("base.repo", *locked)]

    def marked(self, request: gr.Request, base: Any, repo: Any, version_id: Any, *settings: Any) -> list[Any]:
        """What differs, the way back, and for each drawer what is changed in it and what is to be mended."""
        owner, old = owner_of(request), baseline.read(base)
        changes, faults = self._changes(base, repo, settings), self.faults(owner, repo, settings)
        scale = self.scale(owner, repo, version_id, settings)
        undo = [
            gr.update(visible=i < len(changes), value=f"{changes[i].words}  ×" if i < len(changes) else "")
            for i in range(MOST_SHOWN)
        ]
        labels = [gr.update(label=label_of(part, changes, faults)) for part in PARTS]
        every = gr.update(label=label_of("", changes, faults))
        notes = [told(notes_of(part, faults)) for part in PARTS]
        back = gr.update(visible=bool(changes), value=old.way_back)
        return [str(status(old, changes, scale)), gr.update(visible=bool(changes)), back, *undo, *labels, every, *notes]

    def faults(self, owner: str, repo: Any, settings: Sequence[Any]) -> list[Fault]:
        """Everything that is wrong with the settings as they stand."""
        try:
            config = parse_config(run_form.raw_config(repo, settings))
        except Faults as error:
            return list(error.faults)
        facts = self.facts(owner, repo, settings)
        found = model_faults(config, facts) if facts else []
        return [*found, *here_faults(self.services, owner, config)]

    def _layers(self, owner: str, repo: Any, settings: Sequence[Any]) -> dict[str, Any]:
        """The model's real layers, to choose from."""
        facts = self.facts(owner, repo, settings)
        return {"adapter.target_modules": layer_choices(facts.linear_layers if facts else ())}

    def continued(self, run_id: Any, request: gr.Request) -> list[Any]:
        """The fields that a continued adapter brings along: its own, and locked; free again without one."""
        try:
            source = self.services.runs.get(str(run_id), owner_of(request)).config if run_id else None
        except NotFound:
            source = None
        if source is None:
            return [gr.update(interactive=True) for _ in KEPT]
        values = flat(source)
        return [gr.update(value=values[path], interactive=False) for path in KEPT]


def hidden(*switches: Any) -> list[Any]:
    """Which of the fields that hang on others are shown, and which drawers."""
    values = dict(zip(SWITCHES, switches, strict=True))
    shown = {path: applies(path, values) for path in HANGING}
    inside = {part: [knob.path for knob in KNOBS if knob.part == part and knob.level != "basic"] for part in PARTS}
    drawers = [gr.update(visible=any(shown.get(path, True) for path in paths)) for paths in inside.values()]
    return [*(gr.update(visible=shown[path]) for path in HANGING), *drawers]


def by_path(settings: Sequence[Any]) -> dict[str, Any]:
    """The form's settings by dotted path."""
    return {knob.path: value for knob, value in zip(KNOBS, settings, strict=True)}


def updates(values: dict[str, Any], choices: dict[str, Any] | None = None) -> list[Any]:
    """An update for every field, in the order of `KNOBS`: nothing where nothing changes."""
    found = []
    for knob in KNOBS:
        more = {"value": values[knob.path]} if knob.path in values else {}
        if choices and knob.path in choices:
            more["choices"] = choices[knob.path]
        found.append(gr.update(**more) if more else gr.skip())
    return found


def label_of(part: str, changes: Sequence[Changed], faults: Sequence[Fault]) -> str:
    """A drawer's name with what is to be mended in it, else what was changed; `part` is empty for the outer one."""
    wrong = sum(part in ("", part_of(fault.field)) for fault in faults)
    other = sum(part in ("", one.knob.part) for one in changes)
    more = f"{wrong} to mend" if wrong else f"{other} changed" if other else ""
    return f"{part or EVERY}{' · ' if more else ''}{more}"


def part_of(path: str) -> str:
    """The drawer of a field; "-" for what stands in none."""
    return next((knob.part for knob in KNOBS if knob.path == path), "-")


def notes_of(part: str, faults: Sequence[Fault]) -> Markup:
    """What is to be mended in a drawer."""
    return join(note("bad", one.problem, one.remedy) for one in faults if part_of(one.field) == part)


def status(base: Baseline, changes: Sequence[Changed], scale: Scale) -> Markup:
    """ "Balanced, with 2 changes", and where its values come from."""
    words = base.name if base.kind == "preset" else f"As {base.name}"
    many = f", with {count(len(changes), 'change')}" if changes else ""
    rest = len(changes) - MOST_SHOWN
    more = f" {rest} more are marked at the drawers." if rest > 0 else ""
    why = baseline.why(base.name, scale) if base.kind == "preset" else "What you change stands here."
    return Markup('<p class="ts-muted"><b>{}{}.</b> {}{}</p>').format(words, many, why, more)


def undoing(desk: SettingsDesk, place: int) -> Callable[..., list[Any]]:
    """The handler of one button that takes a change back."""
    return lambda *values: desk.undo(place, *values)


def settled(layers: str) -> str:
    """The picked layers as they are understood: a layer takes the place of all of them, and the other way round."""
    return layers


def wire(card: SettingsCard, desk: SettingsDesk, model: Any, dataset: Any, loaded: Any) -> list[Any]:
    """What happens when; `loaded` is the event after which the first values stand there.

    Gives the events after which another model may stand there.
    """
    asked = [card.base, model, dataset, *card.fields]
    last: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    fitted = [card.preset, card.base, *card.fields]
    steering = [card.fields[at(path)].input for path in ("method.name", "adapter.tuner")]
    gr.on(steering, desk.refit, asked, fitted, **last)
    card.preset.input(desk.take, [card.preset, model, dataset, *card.fields], [card.base, *card.fields], **last)
    card.back.click(desk.back, [card.base, model, *card.fields], card.fields, **QUIET)
    for place, button in enumerate(card.undo):
        button.click(undoing(desk, place), [card.base, model, *card.fields], card.fields, **QUIET)
    switches = [card.fields[at(path)] for path in SWITCHES]
    hanging = [card.fields[at(path)] for path in HANGING]
    places = [*hanging, *card.drawers[:-1]]
    gr.on([one.change for one in switches], hidden, switches, places, **last)
    loaded.then(hidden, switches, places, **last)
    layers = card.fields[at("adapter.target_modules")]
    layers.input(settled, layers, layers, **last)
    source = card.fields[at("adapter.continue_from")]
    source.change(desk.continued, source, [card.fields[at(path)] for path in KEPT], **last)
    marked = gr.on([one.change for one in asked], desk.marked, asked, card.places, **last)
    loaded.then(desk.marked, asked, card.places, **last)
    form = [card.name, model, dataset, *card.fields]
    filled = [model, dataset, card.name, card.preset, card.base, *card.fields]
    return file_drawer.wire(card.file, FileDesk(desk.services), form, filled, [marked])
