"""A run as a file: what the form says as YAML, the command that starts it, and a file read back into the form."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from studio.core.config import parse_config
from studio.core.config.difference import flat
from studio.core.config.files import MOST_BYTES, RunFile, from_yaml, to_yaml
from studio.core.errors import Refused
from studio.core.services import Services
from studio.shell.session import owner_of
from studio.ui import baseline, run_form
from studio.ui.fields import told
from studio.ui.frame import QUIET
from studio.ui.markup import Markup, html, log_text, muted, note
from studio.ui.notices import note_of
from studio.ui.run_form import KNOBS


class FileDrawer:
    """The drawer "As a file"."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        with gr.Accordion("As a file (YAML)", open=False, elem_classes="ts-drawer") as self.drawer:
            self.text = html()
            kinds = [".yaml", ".yml"]
            html(muted("Or the other way round: a file that was kept fills the form."))
            self.drop = gr.File(
                label="Read a file in", show_label=False, file_types=kinds, height=72, elem_classes="ts-drop"
            )
            self.paste = gr.Textbox(label="Or paste one here", lines=3, max_lines=12, max_length=MOST_BYTES)
            self.take = gr.Button("Use what is pasted", size="md", elem_classes="ts-cancel")
            self.said = html(visible=False)


def way_of(text: str, name: str) -> Markup:
    """How to keep a file, and the command that starts it."""
    address = "data:text/yaml;charset=utf-8," + quote(text)
    keep = Markup('<a class="ts-link" href="{}" download="{}">Download {}</a>').format(address, name, name)
    command = Markup("Without the page it starts with <code>tunesmith train {}</code>.").format(name)
    return Markup('<p class="ts-muted">{}. {}</p>').format(keep, command)


def file_name(name: str) -> str:
    """A file's name for a run: plain letters, so that it stands in a command as it is."""
    plain = "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "-" for one in name).strip("-.")
    return f"{plain[:60] or 'run'}.yaml"


def folded(config: dict[str, Any], name: str, dataset: str, version_id: str) -> Markup:
    """A run's config as YAML, to look at, keep and start again."""
    kept = file_name(name)
    text = to_yaml(RunFile(config, name, dataset, version_id), kept)
    return log_text(text) + way_of(text, kept)


class FileDesk:
    """The handlers of the drawer."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores."""
        self.services = services

    def written(self, request: gr.Request, name: Any, repo: Any, version_id: Any, *settings: Any) -> str:
        """The form as YAML."""
        version = run_form.version_or_none(self.services, owner_of(request), version_id)
        called = str(name or "").strip() or (version.name if version else "")
        dataset, dataset_id = (version.name, version.id) if version else ("", "")
        config = run_form.plain_config(repo, settings)
        values = flat(config)
        whole = {knob.path: knob.default if values[knob.path] is None else values[knob.path] for knob in KNOBS}
        raw = baseline.nest({**whole, "base.repo": values["base.repo"]})
        kept = file_name(called)
        text = to_yaml(RunFile(raw, called, dataset, dataset_id), kept)
        return str(log_text(text) + way_of(text, kept))

    def dropped(self, path: Any, request: gr.Request) -> list[Any]:
        """A file that was dropped: read in, and forgotten at once."""
        if not path:
            return [gr.skip() for _ in range(8 + len(KNOBS))]
        try:
            source = Path(str(path))
            with source.open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
            source.unlink(missing_ok=True)
            found = self.read(content.decode("utf-8-sig"), request)
        except UnicodeDecodeError:
            found = unread(Refused("The file is not UTF-8 text.", "Save it as UTF-8."))
        return [gr.update(value=None), *found]

    def pasted(self, text: Any, request: gr.Request) -> list[Any]:
        """A text that was pasted: read in."""
        return [gr.skip(), *self.read(str(text or ""), request)]

    def read(self, text: str, request: gr.Request) -> list[Any]:
        """What the text says, in the form's fields; or everything that is wrong with it, and the form as it was."""
        try:
            found = from_yaml(text)
            config = parse_config(found.config).model_dump()
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            return unread(error)
        owner = owner_of(request)
        version = self._dataset(owner, found)
        words = note("good", "The file is read", "Its settings stand in the form now.")
        if version is None and (found.dataset or found.dataset_id):
            text = f"There is no dataset called {(found.dataset or found.dataset_id)[:80]!r} here: choose one."
            words = note("warn", "The file is read, without its dataset", text)
        values = flat(config)
        data = gr.skip() if version is None else gr.update(value=version)
        base = baseline.of_config("file", found.name[:80] or "the file", config)
        updates = [gr.update(value=values[knob.path]) for knob in KNOBS]
        name = gr.update(value=found.name[:200])
        model = gr.update(value=config["base"]["repo"])
        return [told(words), gr.update(value=""), model, data, name, gr.update(value=None), base.text(), *updates]

    def _dataset(self, owner: str, found: RunFile) -> str | None:
        """The id of the version that a file means: by its id, else the newest of its name."""
        if found.dataset_id and (version := run_form.version_or_none(self.services, owner, found.dataset_id)):
            return version.id
        return next((one.id for one in self.services.datasets.of(owner) if one.name == found.dataset), None)


def unread(error: Exception) -> list[Any]:
    """The form as it was, and what is wrong with the file."""
    return [told(note_of(error)), *(gr.skip() for _ in range(6 + len(KNOBS)))]


def wire(drawer: FileDrawer, desk: FileDesk, form: list[Any], filled: list[Any], marked: list[Any]) -> list[Any]:
    """What happens when. `form` is name, model, dataset and fields; `filled` what a file fills: model, dataset, name,
    preset, baseline and fields; after each of `marked` the text is written anew. Gives the events that filled the form.
    """
    last: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
    drawer.drawer.expand(desk.written, form, drawer.text, **last)
    for event in marked:
        event.then(desk.written, form, drawer.text, **last)
    outputs = [drawer.drop, drawer.said, drawer.paste, *filled]
    return [
        drawer.drop.upload(desk.dropped, drawer.drop, outputs, **QUIET),
        drawer.take.click(desk.pasted, drawer.paste, outputs, **QUIET),
    ]
