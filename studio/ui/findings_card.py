"""The card "Worth a look": what was done to a dataset and can be undone, what was found and the one button for it.

Every kind of finding has its own hidden place, so that a button always means the same, whatever was drawn last.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import gradio as gr

from studio.core.child import Progress
from studio.core.errors import Conflict
from studio.core.findings import KINDS, rank
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases import versions
from studio.shell.session import owner_of
from studio.ui.findings_view import WORDS, button_of, by_example, finding_note, ordered, step_note, step_of
from studio.ui.frame import QUIET
from studio.ui.going import address
from studio.ui.intake_view import MEND, mend_words, unit_of
from studio.ui.markup import Markup, cardhead, html, muted, note
from studio.ui.units import count
from studio.ui.working import Updates, Working

TITLE = "Worth a look"
MOST_STEPS = 8
NOTHING_FOUND = "Nothing was found: no repeats, no secrets, no odd answers."
NOT_LOOKED = (
    "This was read by an older studio, which did not look for such things. Drop the file again to have it done."
)
KINDS_IN_ORDER = tuple(sorted(WORDS, key=list(KINDS).index))
OF_DATA = tuple(kind for kind in KINDS_IN_ORDER if not KINDS[kind].of_model)
OF_MODEL = tuple(kind for kind in KINDS_IN_ORDER if KINDS[kind].of_model)
BROKEN = "broken_rows"
# What a model makes of the examples of a version today, by the boxes of the page: the model and where it cuts.
OfModel = Callable[[DatasetVersion, Any, Any], list[dict[str, Any]]]
PLACES = tuple(sorted((*KINDS_IN_ORDER, BROKEN), key=lambda kind: rank(kind)[0] if kind in KINDS else 1))


class Slot:
    """A place for one note with one button, hidden while there is nothing to say."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        with gr.Column(elem_classes="ts-finding", visible=False) as self.box:
            self.words = html()
            self.button = gr.Button("", size="sm", visible=False)

    @property
    def outputs(self) -> list[Any]:
        """What `shown` and `empty` change."""
        return [self.box, self.words, self.button]

    def shown(self, words: Markup, button: str) -> Updates:
        """Say `words`, with a button where it has a name."""
        told = gr.update(value=button, visible=bool(button), interactive=True)
        return {self.box: gr.update(visible=True), self.words: str(words), self.button: told}

    def empty(self) -> Updates:
        """Nothing to say."""
        return {self.box: gr.update(visible=False)}


class FindingsCard:
    """The components. `version` is the hidden box with the id of the version that the page shows."""

    def __init__(self, version: gr.Textbox) -> None:
        """Drawn where it is made."""
        self.version = version
        with gr.Column(elem_classes="ts-card"):
            html(cardhead(TITLE))
            self.work = Working()
            self.steps = [Slot() for _ in range(MOST_STEPS)]
            self.slots = {kind: Slot() for kind in PLACES}
            self.none = html(visible=False)

    @property
    def outputs(self) -> list[Any]:
        """All its places."""
        slots = [*self.steps, *self.slots.values()]
        return [*self.work.outputs, self.none, *(part for slot in slots for part in slot.outputs)]

    @property
    def model_outputs(self) -> list[Any]:
        """The places of what depends on the model."""
        return [self.none, *(part for kind in OF_MODEL for part in self.slots[kind].outputs)]

    def drawn(self, one: DatasetVersion, newest: bool) -> Updates:
        """The card for a version; an older one has no buttons, because each change makes a version on the newest."""
        report, updates = one.report, Updates()
        unit, steps = unit_of(report), list(report.get("steps", []))
        for place, slot in enumerate(self.steps):
            undo = "Undo" if newest else ""
            drawn = slot.shown(step_note(steps[place], unit), undo) if place < len(steps) else slot.empty()
            updates |= drawn
        found = {finding["kind"]: finding for finding in ordered(report.get("findings", []))}
        for kind in OF_DATA:
            updates |= self._finding(kind, found.get(kind), one, newest)
        updates |= self._broken(report, newest)
        words = NOTHING_FOUND if "findings" in report else NOT_LOOKED
        return updates | {self.none: gr.update(value=str(muted(words)), visible=is_clean(report))}

    def of_model(self, findings: Iterable[Mapping[str, Any]], one: DatasetVersion, newest: bool) -> Updates:
        """What the chosen model makes of the examples."""
        found = {finding["kind"]: finding for finding in ordered(findings)}
        updates = Updates()
        for kind in OF_MODEL:
            updates |= self._finding(kind, found.get(kind), one, newest)
        clean = is_clean(one.report) and not any(finding.get("count") for finding in found.values())
        return updates | {self.none: gr.update(visible=clean)}

    def _finding(self, kind: str, finding: Mapping[str, Any] | None, one: DatasetVersion, newest: bool) -> Updates:
        slot = self.slots[kind]
        if finding is None or not finding.get("count"):
            return slot.empty()

        def at(number: int) -> str:
            return address("/datasets", id=one.dataset_id, version=one.id, example=str(number))

        unit = unit_of(one.report)
        if len(one.report.get("sources") or []) > 1:  # the same row stands in several files
            finding, unit = by_example(finding), "Example"
        return slot.shown(finding_note(finding, at, unit), button_of(finding) if newest else "")

    def _broken(self, report: Mapping[str, Any], newest: bool) -> Updates:
        slot, mendable = self.slots[BROKEN], int(report.get("mendable") or 0)
        if not mendable:
            return slot.empty()
        title = f"{count(mendable, unit_of(report).lower())} left out could be mended"
        button = mend_words(mendable).removesuffix(" and go on") if newest else ""
        return slot.shown(note("warn", title, "You see each change, and can undo it."), button)

    def wire(self, services: Services, of_model: OfModel, boxes: list[Any]) -> list[Any]:
        """What the buttons do; `boxes` are those whose values `of_model` takes.

        Gives the events after which `version` may hold another version.
        """
        self.work.wire()
        outputs = [*self.work.outputs, self.version]
        events = []
        for kind, slot in self.slots.items():
            mend = partial(self._repair, services, kind, of_model)
            inputs = [self.version, *(boxes if kind in OF_MODEL else ())]
            events.append(slot.button.click(handled(mend), inputs, outputs, **QUIET))
        for place, slot in enumerate(self.steps):
            undo = partial(self._undo, services, place)
            events.append(slot.button.click(handled(undo), self.version, outputs, **QUIET))
        return events

    def _repair(
        self, services: Services, kind: str, of_model: OfModel, owner: str, version_id: str, *boxes: Any
    ) -> Iterator[Updates]:
        def work(progress: Progress) -> DatasetVersion:
            one = services.datasets.version(version_id, owner)
            findings = of_model(one, *boxes) if kind in OF_MODEL else one.report.get("findings", [])
            step = dict(MEND) if kind == BROKEN else step_for(kind, findings)
            return versions.repair(services, owner, version_id, step, progress)

        yield from self.work.go(owner, "The data", work, self._now)

    def _undo(self, services: Services, place: int, owner: str, version_id: str) -> Iterator[Updates]:
        def work(progress: Progress) -> DatasetVersion:
            return versions.undo(services, owner, version_id, place, progress)

        yield from self.work.go(owner, "The data", work, self._now)

    def _now(self, one: DatasetVersion) -> Updates:
        return {self.version: one.id}


def is_clean(report: Mapping[str, Any]) -> bool:
    """Whether nothing of the data is worth a look, and nothing was done to it."""
    return not (ordered(report.get("findings", [])) or report.get("steps") or report.get("mendable"))


def handled(act: Any) -> Any:
    """`act` (of an owner, a version's id and the values of more boxes) as a handler of the page."""

    def handler(request: gr.Request, version_id: str, *boxes: Any) -> Iterator[Updates]:
        yield from act(owner_of(request), version_id, *boxes)

    return handler


def step_for(kind: str, findings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The step against a finding of this kind. Raises `Conflict` where there is none."""
    found = next((one for one in findings if one.get("kind") == kind and one.get("count")), None)
    step = step_of(found) if found else None
    if step is None:
        raise Conflict("This is not found any more.", "Look at the newest version.")
    return step
