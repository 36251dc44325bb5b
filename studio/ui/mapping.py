"""Where a file becomes a dataset: the place to drop it, what its columns mean, one button to accept that.

The same piece stands on New run and on Datasets. The dropped file is taken away in its own handler; what was
understood of it stands in hidden boxes of the tab (forging them harms nobody: the import reads the file again).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from studio.core.artifacts import new_id
from studio.core.errors import StudioError
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.upload import Inspection, import_upload, receive
from studio.shell.session import owner_of
from studio.shell.uploads import clean_name, take_upload
from studio.ui.fields import Choice, told
from studio.ui.frame import QUIET
from studio.ui.markup import NOTHING, Markup, html, join, muted, note
from studio.ui.notices import note_of
from studio.ui.units import count

ROLES = ("prompt", "completion", "system")
LABELS = {"prompt": "Asked", "completion": "Learnt", "system": "Instructions"}
INFOS = {
    "prompt": "What the model is asked.",
    "completion": "What it is taught to answer.",
    "system": "Said to the model first.",
}
NO_COLUMN = ""
MOST_SHOWN = 160


class Drop(gr.File):
    """The place for a file. Its handler gets (path, the name that the person's file has), or None."""

    is_template = True  # drawn as a plain one

    def preprocess(self, payload: Any) -> tuple[str, str] | None:
        """The upload as it is; Gradio's own would hand out its path alone, in which the name has lost letters."""
        return (payload.path, payload.orig_name or payload.path) if isinstance(payload, FileData) else None


@dataclass(frozen=True)
class Intake:
    """The components, in the order in which handlers fill them. `made` holds the id of the version just made."""

    drop: gr.File
    words: gr.HTML
    box: gr.Column
    upload: gr.Textbox
    seen: gr.Textbox
    roles: list[gr.Dropdown]
    meaning: gr.HTML
    accept: gr.Button
    made: gr.Textbox

    @property
    def filled(self) -> list[Any]:
        """What a dropped file fills."""
        return [self.drop, self.words, self.box, self.upload, self.seen, *self.roles, self.meaning]


def draw_intake(label: str = "A new dataset") -> Intake:
    """The place for the file, and below it the mapping, hidden until a file is there."""
    drop = Drop(label=label, show_label=False, height=72, elem_classes="ts-drop")
    words = html(visible=False)
    with gr.Column(visible=False) as box:
        with gr.Row(elem_classes="ts-fields"):
            roles: list[gr.Dropdown] = [
                Choice([], label=LABELS[role], info=INFOS[role], interactive=True) for role in ROLES
            ]
        meaning = html()
        with gr.Row(elem_classes="ts-buttons"):
            accept = gr.Button("Use this file", variant="secondary", size="md")
    upload, seen, made = (gr.Textbox(visible=False) for _ in range(3))
    return Intake(drop, words, box, upload, seen, roles, meaning, accept, made)


def wire_intake(intake: Intake, services: Services) -> Any:
    """Wire it. The event that is returned is over when the file was imported or refused: see `intake.made`."""

    def dropped(file: tuple[str, str] | None, request: gr.Request) -> Iterator[Any]:
        nothing = [gr.skip() for _ in intake.filled[3:]]
        if not file:
            return
        yield None, told(muted("Reading the file…")), gr.update(visible=False), *nothing
        try:
            yield [None, *shown(take_in(services, owner_of(request), *file))]
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            yield None, told(note_of(error)), gr.update(visible=False), *nothing

    def accepted(request: gr.Request, upload_id: str, seen: str, *columns: Any) -> Iterator[Any]:
        yield told(muted("Reading all rows…")), gr.skip(), ""
        try:
            mapping = mapping_of(read_seen(seen), columns)
            version = import_upload(services, owner_of(request), upload_id, mapping)
            yield told(welcome(version)), gr.update(visible=False), version.id
        except Exception as error:
            yield told(note_of(error)), gr.update(visible=True), ""

    def mapped(seen: str, *columns: Any) -> str:
        return str(meaning_of(read_seen(seen), columns))

    intake.drop.upload(dropped, intake.drop, intake.filled, **QUIET)
    inputs = [intake.seen, *intake.roles]
    gr.on([role.input for role in intake.roles], mapped, inputs, intake.meaning, **QUIET)
    outputs = [intake.words, intake.box, intake.made]
    return intake.accept.click(accepted, [intake.upload, *inputs], outputs, **QUIET)


def take_in(services: Services, owner: str, path: str, name: str) -> Inspection:
    """Move a dropped file out of Gradio's folder and look into it. Raises `Refused`; then nothing is kept."""
    taken = services.artifacts.upload_dir() / f"{new_id()}.taken"
    take_upload(services.settings, path, taken)
    try:
        return receive(services, owner, taken, clean_name(name))
    finally:
        taken.unlink(missing_ok=True)


def shown(found: Inspection) -> list[Any]:
    """The updates for a file that was understood: everything in `Intake.filled` but the place of the file."""
    seen = {
        "columns": list(found.columns),
        "chat": found.mapping.get("messages", ""),
        "split": found.facts.get("split", ""),
        "first": [cell[:MOST_SHOWN] for cell in next(iter(found.facts.get("sample", [])), [])],
    }
    is_chat = bool(seen["chat"])
    picked = [found.mapping.get(role, NO_COLUMN) for role in ROLES]
    columns = [(column, column) for column in found.columns]
    choices = [columns, columns, [("None", NO_COLUMN), *columns]]
    roles = [
        gr.update(choices=choice, value=value or (NO_COLUMN if role == "system" else None), visible=not is_chat)
        for role, choice, value in zip(ROLES, choices, picked, strict=True)
    ]
    place = gr.update(visible=True)
    return [told(greeting(found)), place, found.upload_id, json.dumps(seen), *roles, str(meaning_of(seen, picked))]


def greeting(found: Inspection) -> Markup:
    """That the file was read, what it is, and what was odd in its first rows."""
    title = f"{found.name} was read"
    text = "Check what its columns mean." if "messages" not in found.mapping else "Its rows are whole chats."
    parts = [note("good" if found.is_certain else "plain", title, f"{found.facts.get('words', '')}. {text}")]
    odd = [*found.facts.get("warnings", []), *found.facts.get("faults", [])][:5]
    return join([*parts, *(note("warn", words) for words in odd)])


def welcome(version: DatasetVersion) -> Markup:
    """That the dataset is there, and what became of its rows."""
    held = f", {version.held_out:,} of them held out to check" if version.held_out else ""
    dropped = version.report.get("dropped", 0)
    left_out = f" {count(dropped, 'row')} left out." if dropped else ""
    return note("good", f"{version.name} is a dataset now", f"{count(version.examples, 'example')}{held}.{left_out}")


def read_seen(text: str) -> dict[str, Any]:
    """What `shown` put into the hidden box; empty where it is not that. Raises nothing: the tab may send anything."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def mapping_of(seen: dict[str, Any], columns: Any) -> dict[str, str]:
    """The mapping as the import takes it. Raises `StudioError` where a column has to be chosen first."""
    if seen.get("chat"):
        return {"messages": str(seen["chat"])}
    mapping = {role: str(column or "") for role, column in zip(ROLES, columns, strict=True)}
    for role in ("prompt", "completion"):
        if not mapping[role]:
            words = f"No column is chosen for {LABELS[role]}."
            raise StudioError(words, "Choose the column that holds it.", field=role)
    return mapping


def meaning_of(seen: dict[str, Any], columns: Any) -> Markup:
    """What each column of the file is for, and how the first row reads."""
    if seen.get("chat"):
        words = Markup("Each row is a whole chat in <code>{}</code>. What the assistant says is learnt.")
        return join([muted(words.format(seen["chat"])), line_of(unused(seen, [seen["chat"]]))])
    verbs = dict(zip(ROLES, ("is asked", "is learnt", "are the instructions"), strict=True))
    chosen = {role: str(column) for role, column in zip(ROLES, columns, strict=True) if column}
    item = Markup("<span><code{}>{}</code> {}</span>")
    learnt = Markup(' class="learnt"')
    used = [item.format(learnt if role == "completion" else "", chosen[role], verbs[role]) for role in chosen]
    return join([line_of([*used, *unused(seen, list(chosen.values()))]), first_row(seen, chosen)])


def first_row(seen: dict[str, Any], chosen: dict[str, str]) -> Markup:
    """The first row by role, so that a wrong column is seen at once."""
    cells = dict(zip(seen.get("columns", []), seen.get("first", []), strict=False))
    pairs = [(LABELS[role], cells[column]) for role, column in chosen.items() if cells.get(column)]
    return join(muted(Markup("<b>{}</b> {}").format(f"{label} in the first row:", cell)) for label, cell in pairs)


def unused(seen: dict[str, Any], chosen: list[str]) -> list[Markup]:
    """The column that says what is held out, and those that nothing is done with, each by name."""
    split = seen.get("split", "")
    left = [column for column in seen.get("columns", []) if column not in chosen and column != split]
    parts = [Markup("<span><code>{}</code> is not used</span>").format(column) for column in left]
    return [Markup("<span><code>{}</code> says what is held out</span>").format(split), *parts] if split else parts


def line_of(parts: list[Markup]) -> Markup:
    """What the columns are for, side by side."""
    return Markup('<p class="ts-map">{}</p>').format(join(parts)) if parts else NOTHING
