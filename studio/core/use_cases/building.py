"""A version of a dataset from its recipe: files and versions in, columns mapped, steps replayed. It never changes."""

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.core.artifacts import new_id, publish_dir, read_json, write_json
from studio.core.child import Progress
from studio.core.errors import NotFound
from studio.core.findings import model_key
from studio.core.models import tokenizer_folder
from studio.core.reader import ask
from studio.core.recipes import Part, Recipe
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion, NewDataset

BUILT = ("data.parquet", "dropped.jsonl", "report.json")


@dataclass(frozen=True)
class Target:
    """Where a version goes: a new dataset called `name`, or the next version of `before`'s dataset."""

    owner: str
    name: str
    before: DatasetVersion | None = None


def read_recipe(services: Services, version: DatasetVersion) -> Recipe:
    """The recipe of a version that is there; those of older studios have one file and no steps."""
    kept = read_json(services.artifacts.dataset_dir(version.id) / "recipe.json")
    if kept is None:
        return Recipe((Part("original", version.file_name),), {k: v for k, v in version.mapping.items() if v})
    return Recipe.of(kept)


def request_of(services: Services, owner: str, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What the sandbox is asked to build `recipe` from the files in `folder`. Raises `NotFound` for a version."""
    parts = []
    for part in recipe.parts:
        path = folder / part.file
        if part.kind == "version":
            try:
                path = services.artifacts.data_parquet(services.datasets.version(part.file, owner).id)
            except NotFound as error:
                raise NotFound(f"{part.name}, which this mix was made of, is gone.", "Mix again.") from error
        parts.append({**asdict(part), "source": str(path)})
    models = {
        model_key(step): str(tokenizer_folder(step["repo"], step.get("revision", "main"), services.settings))
        for step in recipe.steps
        if "repo" in step
    }
    names = ("mapping", "steps", "reading", "seed")
    wishes = {"models": models, **{name: getattr(recipe, name) for name in names}}
    return {"do": "import", "name": recipe.parts[0].name, "parts": parts, **wishes}


def build(
    services: Services, recipe: Recipe, folder: Path, target: Target, on_progress: Progress | None = None
) -> DatasetVersion:
    """The version made of `recipe` and the files in `folder`: built beside its place, published whole, recorded.

    A draft of the same recipe in `folder` is used as it is. Raises `StudioError`; then nothing was made.
    """
    version_id = new_id()
    final = services.artifacts.dataset_dir(version_id)
    building = final.with_name(f".{version_id}.part")
    building.mkdir(parents=True)
    try:
        own = [part.file for part in recipe.parts if part.kind == "file"]
        for name in own:
            _link(folder / name, building / name)
        report = _drafted(folder, recipe, building) if target.before is None else None
        if report is None:
            request = request_of(services, target.owner, recipe, building)
            if target.before is not None:
                request["before"] = str(services.artifacts.data_parquet(target.before.id))
            report = ask({**request, "out": str(building)}, services.settings, on_progress)
        write_json(building / "recipe.json", asdict(recipe))
        sha256 = _sha256(report)
        publish_dir(building, final)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    new = NewDataset(
        target.owner, version_id, target.name, recipe.parts[0].name, sha256, report["mapping"],
        {**report, "origin": recipe.origin}, report["kept"], report["held_out"],
    )  # fmt: skip
    return services.datasets.add_version(target.before.dataset_id, new) if target.before else services.datasets.add(new)


def draft(services: Services, owner: str, recipe: Recipe, folder: Path, on_progress: Progress) -> dict[str, Any]:
    """Build `recipe` into `folder` without a record, to see what becomes of the rows; the report."""
    out = _draft_dir(folder, recipe)
    report: dict[str, Any] | None = read_json(out / "report.json")
    if report is None:
        building = folder / f".draft-{new_id()}"
        try:
            request = {**request_of(services, owner, recipe, folder), "out": str(building), "keep_empty": True}
            report = ask(request, services.settings, on_progress)
            shutil.rmtree(out, ignore_errors=True)
            building.rename(out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return report


def _drafted(folder: Path, recipe: Recipe, building: Path) -> dict[str, Any] | None:
    """Take the draft of this very recipe, where there is one that kept something."""
    out = _draft_dir(folder, recipe)
    report: dict[str, Any] | None = read_json(out / "report.json")
    if report is None or not report["kept"]:
        return None
    for name in BUILT:
        (out / name).rename(building / name)
    return report


def _draft_dir(folder: Path, recipe: Recipe) -> Path:
    return folder / f"draft-{replace(recipe, origin={}).key}"


def _link(source: Path, destination: Path) -> None:
    """The file under a second name; a copy where the file system has none."""
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)


def _sha256(report: dict[str, Any]) -> str:
    """The hash of what went in: the file's own where it is one."""
    hashes = [source["sha256"] for source in report["sources"]]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
