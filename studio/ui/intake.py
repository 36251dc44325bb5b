"""Where a file becomes a dataset: dropped, read with progress, understood, and asked about where it has to be.

The same piece stands on New run and on Datasets. The dropped file is taken away in its own handler. A file that is
certain and whole is imported without a question; one with odd columns shows what they seem to mean; one with bad rows
says which, and offers to mend them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from studio.core.artifacts import new_id
from studio.core.child import Progress
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.hub_data import bring
from studio.core.use_cases.upload import Inspection, draft, import_upload, inspect, read_as, receive
from studio.shell.session import owner_of
from studio.shell.uploads import clean_name, take_upload
from studio.ui.errands import ERRANDS, Work
from studio.ui.fields import told
from studio.ui.frame import QUIET
from studio.ui.going import address
from studio.ui.hub_way import HubWay, choice_of
from studio.ui.intake_view import MEND, bad_rows, mend_words, problems, welcome, without_words
from studio.ui.mapping import greeting, mapping_of, read_seen, seen_of
from studio.ui.mapping_form import MappingForm, mapping_now
from studio.ui.markup import NOTHING
from studio.ui.reading_form import ReadingForm, reading_of
from studio.ui.working import Updates, Working


class Drop(gr.File):
    """The place for a file. Its handler gets (path, the name that the person's file has), or None."""

    is_template = True  # drawn as a plain one

    def preprocess(self, payload: Any) -> tuple[str, str] | None:
        """The upload as it is; Gradio's own would hand out its path alone, in which the name has lost letters."""
        return (payload.path, payload.orig_name or payload.path) if isinstance(payload, FileData) else None


def drop_place(label: str) -> Drop:
    """A place to drop a file at."""
    return Drop(label=label, show_label=False, height=72, elem_classes="ts-drop")


def take_in(services: Services, owner: str, path: str, name: str) -> Inspection:
    """Move a dropped file out of Gradio's folder and look into it. Raises `Refused`; then nothing is kept."""
    taken = services.artifacts.upload_dir() / f"{new_id()}.taken"
    take_upload(services.settings, path, taken)
    try:
        return receive(services, owner, taken, clean_name(name))
    finally:
        taken.unlink(missing_ok=True)


@dataclass(frozen=True)
class Job:
    """What the last errand of a drop came to: the inspection, the report of all rows, the version; None: not yet."""

    found: Inspection
    report: dict[str, Any]
    version: DatasetVersion | None


class Intake:
    """The components. `made` holds the id of the version just made."""

    def __init__(self, label: str = "A new dataset") -> None:
        """Drawn where it is made: the place for the file, and below it what it leads to, hidden at first."""
        self.drop = drop_place(label)
        self.work = Working()
        self.mapping_box()
        with gr.Row(elem_classes="ts-buttons", visible=False) as self.bad:
            self.mend = gr.Button("Mend and go on", variant="primary", size="md")
            self.without = gr.Button("Use it without them", size="md")
            self.other = gr.Button("Cancel", size="md")
        self.reading = ReadingForm(self.form.seen)
        self.hub = HubWay()
        self.upload, self.made = (gr.Textbox("", visible=False) for _ in range(2))

    def mapping_box(self) -> None:
        """What the file is and what its columns mean."""
        with gr.Column(visible=False, elem_classes="ts-mapping") as self.box:
            self.form = MappingForm()
            with gr.Row(elem_classes="ts-buttons"):
                self.accept = gr.Button("Use this file", variant="secondary", size="md")

    @property
    def outputs(self) -> list[Any]:
        """All that its handlers change."""
        fixed = [self.drop, self.box, self.bad, self.mend, self.without, self.upload, self.made]
        return [*self.work.outputs, *fixed, *self.form.outputs, *self.reading.outputs]

    def wire(self, services: Services) -> list[Any]:
        """Wire it. Gives the events after which `made` may hold a new version."""
        desk = Desk(self, services)
        self.work.wire()
        self.form.wire()
        self.hub.wire(services)
        dropped, accepted = [self.drop, self.work.errand], [self.upload, *self.form.inputs]
        self.other.click(desk.forgotten, None, self.outputs, **QUIET)
        return [
            self.drop.upload(desk.dropped, dropped, self.outputs, trigger_mode="multiple", **QUIET),
            self.accept.click(desk.accepted, accepted, self.outputs, **QUIET),
            self.mend.click(desk.mended, accepted, self.outputs, **QUIET),
            self.without.click(desk.imported, accepted, self.outputs, **QUIET),
            self.reading.again.click(desk.read_again, [self.upload, *self.reading.inputs], self.outputs, **QUIET),
            self.hub.bring.click(desk.brought, self.hub.inputs, self.outputs, **QUIET),
        ]


class Desk:
    """The handlers of one intake: generators of updates by component."""

    def __init__(self, intake: Intake, services: Services) -> None:
        """`intake` are the components, `services` the stores."""
        self.at, self.services = intake, services

    # ---------- what the person does
    def dropped(self, file: tuple[str, str] | None, before: str, request: gr.Request) -> Iterator[Updates]:
        """Read the file as far as nobody has to be asked."""
        if not file:
            return
        owner = owner_of(request)

        def work(progress: Progress) -> Job:
            found = take_in(self.services, owner, *file)
            faults = found.facts.get("faults") or []
            progress(0.0, faults[0] if faults else "Reading all rows…")
            return self._read(owner, found, progress) if found.is_certain else Job(found, {}, None)

        ERRANDS.cancel(before, owner, silent=True)  # a second file takes the place of the first
        first = {self.at.drop: None, self.at.made: "", **self._asked_nothing(), **self.at.reading.fresh()}
        yield from self.at.work.go(owner, clean_name(file[1]), work, self._came_to, first)

    def brought(
        self, request: gr.Request, found: str, token: Any, config: Any, split: Any, check: Any
    ) -> Iterator[Updates]:
        """Fetch a dataset of the Hub, then read it like a dropped file."""
        owner, choice = owner_of(request), choice_of(found, config, split, check)

        def work(progress: Progress) -> Job:
            upload = bring(self.services, owner, choice, str(token or "").strip() or None, progress)
            seen = inspect(self.services, owner, upload)
            return self._read(owner, seen, progress) if seen.is_certain else Job(seen, {}, None)

        yield from self._going(owner, choice.repo, work, {self.at.made: "", **self.at.reading.fresh()})

    def read_again(self, request: gr.Request, upload: str, seen: str, *wishes: Any) -> Iterator[Updates]:
        """Look into the file again, read as was chosen; then as after a drop. Where that fails, only this is left."""
        owner, known, reading = owner_of(request), read_seen(seen), reading_of(seen, *wishes)

        def work(progress: Progress) -> Job:
            found = read_as(self.services, owner, upload, reading)
            return self._read(owner, found, progress) if found.is_certain else Job(found, {}, None)

        yield from self._going(owner, str(known.get("name", "")), work, {}, known)

    def accepted(self, request: gr.Request, upload: str, seen: str, sort: Any, *columns: Any) -> Iterator[Updates]:
        """Use the file as its columns were chosen; bad rows are told first."""
        owner, known = owner_of(request), read_seen(seen)

        def work(progress: Progress) -> Job:
            found = of_seen(upload, known, mapping_of(sort, columns))
            return self._read(owner, found, progress)

        yield from self._going(owner, str(known.get("name", "")), work, {}, known, self.at.box)

    def mended(self, request: gr.Request, upload: str, seen: str, sort: Any, *columns: Any) -> Iterator[Updates]:
        """Mend what can be mended and go on."""
        yield from self._import(request, upload, seen, mapping_now(sort, columns), [MEND])

    def imported(self, request: gr.Request, upload: str, seen: str, sort: Any, *columns: Any) -> Iterator[Updates]:
        """Use the file without its bad rows."""
        yield from self._import(request, upload, seen, mapping_now(sort, columns), [])

    def forgotten(self) -> Updates:
        """Back to the empty place."""
        return {self.at.work.words: told(NOTHING), self.at.upload: "", **self._asked_nothing()}

    # ---------- how it goes on
    def _read(self, owner: str, found: Inspection, progress: Progress) -> Job:
        """Read all rows; where each is good, it is a dataset."""
        report = draft(self.services, owner, found.upload_id, found.mapping, (), progress)
        bad = sum(int(reason["count"]) for reason in report.get("reasons", []))
        if bad:
            return Job(found, report, None)
        return Job(found, report, import_upload(self.services, owner, found.upload_id, found.mapping, (), progress))

    def _import(
        self, request: gr.Request, upload: str, seen: str, mapping: dict[str, str], steps: list[Any]
    ) -> Iterator[Updates]:
        owner, known = owner_of(request), read_seen(seen)

        def work(progress: Progress) -> Job:
            found = of_seen(upload, known, mapping)
            return Job(found, {}, import_upload(self.services, owner, upload, mapping, steps, progress))

        yield from self._going(owner, str(known.get("name", "")), work, {}, known, self.at.bad)

    def _going(
        self,
        owner: str,
        name: str,
        work: Work,
        first: Updates,
        seen: Mapping[str, Any] | None = None,
        again: Any = None,
    ) -> Iterator[Updates]:
        """The updates of one errand; where it fails, `again` and how the file (`seen`) is read are shown once more."""
        first = self._asked_nothing() | first
        failed = {again: gr.update(visible=True)} if again is not None else {}
        if seen:
            failed |= self.at.reading.shown(seen)
        yield from self.at.work.go(owner, name, work, self._came_to, first, failed)

    def _asked_nothing(self) -> Updates:
        return {self.at.box: hidden(), self.at.bad: hidden(), **self.at.reading.hidden()}

    def _came_to(self, job: Job) -> Updates:
        seen = seen_of(job.found)
        if job.version is not None:
            change = address("/datasets", id=job.version.dataset_id)
            return {self.at.work.words: told(welcome(job.version, change)), self.at.made: job.version.id}
        form, reading = self.at.form.filled(seen, job.found.mapping), self.at.reading.shown(seen)
        known = {self.at.upload: job.found.upload_id, **form, **reading}
        if job.report:
            return known | self._bad(job.report)
        words = greeting(seen, job.found.facts.get("warnings") or [])
        said = told(words + problems(job.found.facts.get("faults") or []))
        return known | {self.at.work.words: said, self.at.box: gr.update(visible=True)}

    def _bad(self, report: Mapping[str, Any]) -> Updates:
        mendable = int(report.get("mendable") or 0)
        return {
            self.at.work.words: told(bad_rows(report)),
            self.at.bad: gr.update(visible=True),
            self.at.mend: gr.update(visible=mendable > 0, value=mend_words(mendable)),
            self.at.without: gr.update(visible=int(report.get("kept") or 0) > 0, value=without_words(report)),
        }


def hidden() -> Any:
    """The update that hides a part."""
    return gr.update(visible=False)


def of_seen(upload: str, seen: Mapping[str, Any], mapping: dict[str, str]) -> Inspection:
    """The inspection as the page remembers it, with the mapping that was chosen."""
    columns, facts = tuple(seen.get("columns", ())), dict(seen)
    return Inspection(upload, str(seen.get("name", "")), "", columns, mapping, True, (), facts)
