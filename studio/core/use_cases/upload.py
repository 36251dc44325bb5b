"""From a file that arrived to a dataset: taken away at once, looked at in the sandbox, imported once mapped."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.artifacts import is_id, new_id, read_json, sha256_file, write_json
from studio.core.child import Progress
from studio.core.errors import NotFound
from studio.core.reader import SCRATCH, ask
from studio.core.recipes import Part, Recipe
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases import building
from studio.core.use_cases.building import Target

KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Inspection:
    """What was understood of an upload. `mapping` is the guess, `is_certain` whether it needs no second look."""

    upload_id: str
    name: str
    container: str
    columns: tuple[str, ...]
    mapping: dict[str, str]
    is_certain: bool
    sample: tuple[dict[str, str], ...]
    facts: dict[str, Any]

    @classmethod
    def of(cls, upload_id: str, name: str, facts: dict[str, Any]) -> "Inspection":
        """What the sandbox found, as a value."""
        columns, sample = tuple(facts["columns"]), tuple(facts["sample"])
        certain = bool(facts["certain"])
        return cls(upload_id, name, facts["container"], columns, facts["mapping"], certain, sample, facts)


@dataclass(frozen=True)
class Upload:
    """An upload that is there: its folder, and its files as parts of a recipe."""

    folder: Path
    name: str
    parts: tuple[Part, ...]
    origin: dict[str, Any]
    reading: dict[str, str]


def receive(services: Services, owner: str, source: Path, name: str) -> Inspection:
    """Move the file into our store and look into it. Raises `Refused`; then the file is gone again."""
    _sweep(services)
    upload_id = new_id()
    folder = services.artifacts.upload_dir() / upload_id
    folder.mkdir(parents=True, mode=0o700)
    try:
        shutil.move(source, folder / "original")
        write_json(folder / "upload.json", {"owner": owner, "name": name})
        return inspect(services, owner, upload_id)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def inspect(services: Services, owner: str, upload_id: str) -> Inspection:
    """What an upload is, by its first file. Raises `Refused`, `NotFound`."""
    found = find(services, owner, upload_id)
    first = found.parts[0]
    request = {"do": "inspect", "source": str(found.folder / first.file), "name": first.name, "reading": found.reading}
    return Inspection.of(upload_id, found.name, ask(request, services.settings))


def find(services: Services, owner: str, upload_id: str) -> Upload:
    """A person's upload. Raises `NotFound`."""
    folder = services.artifacts.upload_dir() / upload_id
    about = read_json(folder / "upload.json") if is_id(upload_id) else None
    if about is None or about["owner"] != owner:
        raise NotFound("The uploaded file is no longer there.", "Drop it again.")
    parts = about.get("parts") or [{"file": "original", "name": about["name"]}]
    sources = tuple(Part(**part) for part in parts)
    return Upload(folder, about["name"], sources, about.get("hub") or {}, about.get("reading") or {})


def read_as(services: Services, owner: str, upload_id: str, reading: dict[str, str]) -> Inspection:
    """Look again, read as the person says (`delimiter`, `encoding`, `text_as`, `sheet`); the import will do so too."""
    folder = find(services, owner, upload_id).folder
    about = read_json(folder / "upload.json")
    write_json(folder / "upload.json", {**about, "reading": {name: value for name, value in reading.items() if value}})
    return inspect(services, owner, upload_id)


def draft(
    services: Services,
    owner: str,
    upload_id: str,
    mapping: dict[str, str],
    steps: Sequence[dict[str, Any]] = (),
    on_progress: Progress = lambda _share, _words: None,
) -> dict[str, Any]:
    """What would become of all rows: the report of the dataset that `import_upload` would make (`kept` may be 0)."""
    found = find(services, owner, upload_id)
    recipe = Recipe(found.parts, mapping, tuple(steps), found.reading)
    return building.draft(services, owner, recipe, found.folder, on_progress)


def import_upload(
    services: Services,
    owner: str,
    upload_id: str,
    mapping: dict[str, str],
    steps: Sequence[dict[str, Any]] = (),
    on_progress: Progress | None = None,
) -> DatasetVersion:
    """The dataset made from an inspected upload. The same file and mapping again give the first one back."""
    found = find(services, owner, upload_id)
    recipe = Recipe(found.parts, mapping, tuple(steps), found.reading, origin=found.origin)
    version = _made(services, owner, recipe, found, on_progress)
    shutil.rmtree(found.folder, ignore_errors=True)
    return version


def import_file(services: Services, owner: str, source: Path, name: str, mapping: dict[str, str]) -> DatasetVersion:
    """A dataset from a file of ours: read in the sandbox, published whole, then recorded."""
    folder = services.artifacts.upload_dir() / new_id()
    folder.mkdir(parents=True, mode=0o700)
    try:
        shutil.copyfile(source, folder / "original")
        recipe = Recipe((Part("original", name),), {role: column for role, column in mapping.items() if column})
        return _made(services, owner, recipe, Upload(folder, name, recipe.parts, {}, {}), None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made(
    services: Services, owner: str, recipe: Recipe, found: Upload, on_progress: Progress | None
) -> DatasetVersion:
    if len(found.parts) == 1 and not recipe.steps and not recipe.reading:
        known = services.datasets.same_file(owner, sha256_file(found.folder / found.parts[0].file), recipe.mapping)
        if known is not None:
            return known
    return building.build(services, recipe, found.folder, Target(owner, Path(found.name).name), on_progress)


def _sweep(services: Services) -> None:
    """Forget uploads that nobody mapped within a day, and what a killed studio left of its reading."""
    folder = services.artifacts.upload_dir()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in (*folder.iterdir(), *services.settings.data_dir.glob(f"{SCRATCH}*")):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
