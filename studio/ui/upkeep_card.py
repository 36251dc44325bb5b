"""The card at the end of a dataset's page: other columns, a newer file, a file of its own to check with, delete."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from studio.core.child import Progress
from studio.core.errors import Conflict
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases import versions
from studio.core.use_cases.building import read_recipe
from studio.shell.session import owner_of
from studio.shell.uploads import clean_name
from studio.ui.fields import told
from studio.ui.frame import QUIET
from studio.ui.going import go_to
from studio.ui.intake import drop_place, take_in
from studio.ui.mapping import mapping_of, seen_again
from studio.ui.mapping_form import MappingForm
from studio.ui.markup import Markup, cardhead, html, join, muted, note
from studio.ui.notices import note_of
from studio.ui.reading_form import ReadingForm, reading_of
from studio.ui.versions_view import User
from studio.ui.working import Updates, Working

NEWER = "It is read as this one was, with the same mending. It becomes the next version; this one stays."
CHECK = "Its examples are held out to check with, in place of a share of the others. Same columns, please."
REMAP = "Another choice makes another version. The file stays as it is."
REREAD = "Another way of reading makes another version. The file stays as it is."
SURE = "All versions and the file go for good."
MOST_NAMED = 5

Renew = Callable[[Services, str, DatasetVersion, str, Progress], DatasetVersion]


class UpkeepCard:
    """The components. `dataset` and `version` are the hidden boxes with the ids of what the page shows."""

    def __init__(self, dataset: gr.Textbox, version: gr.Textbox) -> None:
        """Drawn where it is made."""
        self.dataset, self.version = dataset, version
        with gr.Column(elem_classes=["ts-card", "ts-late"]):
            html(cardhead("Change it"))
            self.work = Working()
            with gr.Accordion("What its columns mean", open=False, elem_classes="ts-drawer") as self.remap_box:
                html(muted(REMAP))
                self.form = MappingForm()
                self.remap = gr.Button("Read it so", size="sm", elem_classes="ts-cancel")
            self.reading = ReadingForm(self.form.seen, REREAD)
            with gr.Accordion("A newer file", open=False, elem_classes="ts-drawer") as self.newer_box:
                html(muted(NEWER))
                self.newer = drop_place("A newer file")
            with gr.Accordion("Check with a file of its own", open=False, elem_classes="ts-drawer") as self.check_box:
                html(muted(CHECK))
                self.check = drop_place("A file to check with")
            self.delete_row()

    def delete_row(self) -> None:
        """Delete takes two clicks."""
        with gr.Row(elem_classes=["ts-buttons", "ts-foot"]):
            self.delete = gr.Button("Delete", size="sm")
        with gr.Column(visible=False, elem_classes="ts-sure") as self.sure:
            self.losses = html()
            with gr.Row(elem_classes="ts-buttons"):
                self.gone = gr.Button("Delete for good", variant="stop", size="sm")
                self.keep = gr.Button("Keep it", size="sm")
        self.going = html(visible=False)

    @property
    def outputs(self) -> list[Any]:
        """What `drawn` changes."""
        boxes = [self.remap_box, self.newer_box, self.check_box, self.sure]
        return [*self.form.outputs, *self.reading.outputs, *boxes]

    def drawn(self, one: DatasetVersion, newest: bool, reading: Mapping[str, str]) -> Updates:
        """The card for a version that was read with the wishes in `reading`; an older one, or a mix, stays as it is."""
        files = newest and not one.report.get("mixed")
        shown = gr.update(visible=files)
        boxes = {
            self.remap_box: shown,
            self.newer_box: shown,
            self.check_box: shown,
            self.sure: gr.update(visible=False),
        }
        seen = seen_again(one.report)
        boxes |= self.reading.filled(seen if files else {}, reading)
        return boxes | self.form.filled(seen, {k: v for k, v in one.mapping.items() if v})

    def wire(self, services: Services) -> list[Any]:
        """Wire it. Gives the events after which `version` may hold another version."""
        self.work.wire()
        self.form.wire()
        self.wire_delete(services)
        outputs = [*self.work.outputs, self.version]
        inputs = [self.version, *self.form.inputs]
        wishes = [self.version, *self.reading.inputs]
        events = [
            self.remap.click(self.remapped(services), inputs, outputs, **QUIET),
            self.reading.again.click(self.reread(services), wishes, outputs, **QUIET),
        ]
        for place, renew in ((self.newer, renewed), (self.check, checked)):
            handler = self.dropped(services, place, renew)
            events.append(place.upload(handler, [place, self.version], [*outputs, place], **QUIET))
        return events

    def remapped(self, services: Services) -> Callable[..., Iterator[Updates]]:
        """The handler that reads the file with other columns."""

        def handler(request: gr.Request, version: str, _seen: str, sort: Any, *columns: Any) -> Iterator[Updates]:
            owner = owner_of(request)

            def work(progress: Progress) -> DatasetVersion:
                return versions.remap(services, owner, version, mapping_of(sort, columns), progress)

            yield from self.work.go(owner, "The file", work, self._now)

        return handler

    def reread(self, services: Services) -> Callable[..., Iterator[Updates]]:
        """The handler that reads the file in another way."""

        def handler(request: gr.Request, version: str, seen: str, *wishes: Any) -> Iterator[Updates]:
            owner, reading = owner_of(request), reading_of(seen, *wishes)

            def work(progress: Progress) -> DatasetVersion:
                if read_recipe(services, services.datasets.version(version, owner)).reading == reading:
                    raise Conflict("It is read so already.", "Choose another way.")
                return versions.reread(services, owner, version, reading, progress)

            yield from self.work.go(owner, "The file", work, self._now)

        return handler

    def dropped(self, services: Services, place: Any, renew: Renew) -> Callable[..., Iterator[Updates]]:
        """The handler that makes a version with a dropped file."""

        def handler(file: tuple[str, str] | None, version: str, request: gr.Request) -> Iterator[Updates]:
            if not file:
                return
            owner = owner_of(request)

            def work(progress: Progress) -> DatasetVersion:
                one = services.datasets.version(version, owner)
                found = take_in(services, owner, *file)
                progress(0.0, "Reading all rows…")
                return renew(services, owner, one, found.upload_id, progress)

            yield from self.work.go(owner, clean_name(file[1]), work, self._now, {place: None})

        return handler

    def wire_delete(self, services: Services) -> None:
        """The first click says what goes, the second does it."""

        def asked(dataset: str, request: gr.Request) -> Any:
            return str(losses(services.datasets.users(dataset, owner_of(request)))), gr.update(visible=True)

        def deleted(dataset: str, request: gr.Request) -> Any:
            try:
                versions.delete(services, owner_of(request), dataset, sure=True)
            except Exception as error:  # the door of a page: nothing may pass it unsaid
                return gr.skip(), told(note_of(error))
            return told(go_to("/datasets")), gr.skip()

        self.delete.click(asked, self.dataset, [self.losses, self.sure], **QUIET)
        self.keep.click(lambda: gr.update(visible=False), None, self.sure, **QUIET)
        self.gone.click(deleted, self.dataset, [self.going, self.work.words], **QUIET)

    def _now(self, one: DatasetVersion) -> Updates:
        return {self.version: one.id}


def renewed(services: Services, owner: str, one: DatasetVersion, upload_id: str, progress: Progress) -> DatasetVersion:
    """The next version from a newer file."""
    return versions.renew(services, owner, one.dataset_id, upload_id, progress)


def checked(services: Services, owner: str, one: DatasetVersion, upload_id: str, progress: Progress) -> DatasetVersion:
    """The next version, checked with a file of its own."""
    return versions.check_with(services, owner, one.id, upload_id, progress)


def losses(users: Sequence[User]) -> Markup:
    """What goes with a dataset, and which runs learnt from it."""
    if not users:
        return muted(SURE)
    names = [name for _, name, _, _ in users]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    uses = "run uses" if len(names) == 1 else "runs use"
    title = f"{len(names):,} {uses} it: {', '.join(names[:MOST_NAMED])}{more}"
    return join([note("warn", title, "Their adapters stay, but they can not be repeated without it. " + SURE)])
