"""What a person may do to a dataset that is there. Each change makes a new version; those that runs used stay."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from studio.core.child import Progress
from studio.core.errors import Conflict, Refused
from studio.core.reader import ask
from studio.core.recipes import Part, Recipe
from studio.core.services import Services
from studio.core.states import ENDED
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases import storage, upload
from studio.core.use_cases.building import Target, build, read_recipe

_NAMED_RUNS = 5


def of(services: Services, owner: str, dataset_id: str) -> list[DatasetVersion]:
    """All versions of a dataset, newest first. Raises `NotFound`."""
    return services.datasets.versions(dataset_id, owner)


def repair(
    services: Services, owner: str, version_id: str, step: dict[str, Any], on_progress: Progress | None = None
) -> DatasetVersion:
    """The next version, with one more step. Raises `Conflict` where that step is there already."""
    version = services.datasets.version(version_id, owner)
    recipe = read_recipe(services, version)
    if step in recipe.steps:
        raise Conflict("This is mended already.", "Look at the newest version.")
    return _next(services, version, replace(recipe, steps=(*recipe.steps, step)), on_progress)


def undo(
    services: Services, owner: str, version_id: str, index: int, on_progress: Progress | None = None
) -> DatasetVersion:
    """The data without step `index`: the version before, where it was that and no run used this one; else a new one."""
    version = services.datasets.version(version_id, owner)
    recipe = read_recipe(services, version)
    if not 0 <= index < len(recipe.steps):
        raise Conflict("This step is not there any more.", "Look at the newest version.")
    wanted = replace(recipe, steps=(*recipe.steps[:index], *recipe.steps[index + 1 :]))
    newest, *older = of(services, owner, version.dataset_id)
    before = older[0] if older and newest.id == version.id else None
    if (
        before is not None
        and read_recipe(services, before) == wanted
        and services.datasets.take_back(version.id, owner)
    ):
        storage.remove(services.artifacts.dataset_dir(version.id))
        shutil.rmtree(services.artifacts.tokenised_dir() / version.id, ignore_errors=True)
        return before
    return _next(services, version, wanted, on_progress)


def remap(
    services: Services, owner: str, version_id: str, mapping: dict[str, str], on_progress: Progress | None = None
) -> DatasetVersion:
    """The next version, in which the columns mean something else."""
    version = services.datasets.version(version_id, owner)
    recipe = read_recipe(services, version)
    return _next(services, version, replace(recipe, mapping=mapping), on_progress)


def reread(
    services: Services, owner: str, version_id: str, reading: dict[str, str], on_progress: Progress | None = None
) -> DatasetVersion:
    """The next version, its files read as the person says (`delimiter`, `encoding`, `text_as`, `sheet`).

    Where that gives other columns, what they mean is guessed anew.
    """
    version = services.datasets.version(version_id, owner)
    recipe = replace(read_recipe(services, version), reading={name: value for name, value in reading.items() if value})
    first = services.artifacts.dataset_dir(version.id) / recipe.parts[0].file
    request = {"do": "inspect", "source": str(first), "name": recipe.parts[0].name, "reading": recipe.reading}
    seen = ask(request, services.settings)
    if not set(recipe.mapping.values()) <= set(seen["columns"]):
        recipe = replace(recipe, mapping=seen["mapping"])
    return _next(services, version, recipe, on_progress)


def renew(
    services: Services, owner: str, dataset_id: str, upload_id: str, on_progress: Progress | None = None
) -> DatasetVersion:
    """The next version from a newer file: same mapping, all steps replayed."""
    newest = services.datasets.get(dataset_id, owner)
    found = upload.find(services, owner, upload_id)
    recipe = replace(read_recipe(services, newest), parts=found.parts, origin=found.origin)
    version = build(services, recipe, found.folder, Target(owner, newest.name, newest), on_progress)
    shutil.rmtree(found.folder, ignore_errors=True)
    return version


def check_with(
    services: Services, owner: str, version_id: str, upload_id: str, on_progress: Progress | None = None
) -> DatasetVersion:
    """The next version, which is checked with the examples of an own file: same columns, same mapping."""
    version = services.datasets.version(version_id, owner)
    recipe = read_recipe(services, version)
    if any(part.kind == "version" for part in recipe.parts):
        raise Refused("A mix can not take a file to check with.", "Give it to one of its datasets, then mix again.")
    found = upload.find(services, owner, upload_id)
    folder = found.folder
    learnt = [part for part in recipe.parts if part.split != "eval"]
    for part in learnt:
        shutil.copyfile(services.artifacts.dataset_dir(version.id) / part.file, folder / f"learnt-{part.file}")
    parts = (
        *(replace(part, file=f"learnt-{part.file}") for part in learnt),
        *(replace(part, split="eval") for part in found.parts),
    )
    made = build(services, replace(recipe, parts=parts), folder, Target(owner, version.name, version), on_progress)
    shutil.rmtree(folder, ignore_errors=True)
    return made


def mix(
    services: Services,
    owner: str,
    parts: Sequence[tuple[str, float, int | None]],
    name: str,
    seed: int = 0,
) -> DatasetVersion:
    """A new dataset of several: (version id, weight, most examples taken) each. Raises `Refused`."""
    if len(parts) < 2 or len({version_id for version_id, _, _ in parts}) < len(parts):
        raise Refused("A mix needs two different datasets.", "Choose another one.")
    for _, weight, cap in parts:
        if not 0 < weight <= 100:
            raise Refused(f"A weight can not be {weight:g}.", "Choose more than 0 and at most 100.", field="weight")
        if cap is not None and cap < 1:
            raise Refused(f"The most that are taken can not be {cap}.", "Choose at least 1.", field="cap")
    versions = [services.datasets.version(version_id, owner) for version_id, _, _ in parts]
    shapes = {_shape(version) for version in versions}
    if len(shapes) > 1:
        words = " and ".join(sorted(shapes))
        raise Refused(f"These datasets do not go together: {words}.", "Mix datasets of one kind.")
    sources = tuple(
        Part(version.id, version.name, kind="version", weight=float(weight), cap=cap)
        for version, (_, weight, cap) in zip(versions, parts, strict=True)
    )
    folder = services.artifacts.upload_dir()
    return build(services, Recipe(sources, {}, seed=seed), folder, Target(owner, name.strip()[:200] or "Mix"))


def _shape(version: DatasetVersion) -> str:
    """What can be mixed with what."""
    shape = str(version.report.get("format", ""))
    return {"preference": "preferences", "openai_preference": "preferences",
            "unpaired_preference": "judged answers"}.get(shape, "examples to learn")  # fmt: skip


def delete(services: Services, owner: str, dataset_id: str, *, sure: bool = False) -> None:
    """Delete a dataset with its files. Raises `Conflict` where runs need it, or learnt from it and not `sure`."""
    versions = of(services, owner, dataset_id)
    users = services.datasets.users(dataset_id, owner)
    waiting = [name for _, name, state, _ in users if state not in ENDED]
    if waiting:
        raise Conflict(f"{_names(waiting)} still needs this dataset.", "Let it end, or stop it first.")
    if users and not sure:
        words = "1 run learnt" if len(users) == 1 else f"{len(users)} runs learnt"
        raise Conflict(
            f"{words} from this dataset: {_names([name for _, name, _, _ in users])}.",
            "Their adapters stay, but they can not be repeated without it. Say again that it shall go.",
        )
    if not services.datasets.bury(dataset_id, owner):
        raise Conflict("A run that was just started needs this dataset.", "Let it end, or stop it first.")
    for version in versions:
        storage.remove(services.artifacts.dataset_dir(version.id))


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_RUNS
    return ", ".join(names[:_NAMED_RUNS]) + (f" and {more} more" if more > 0 else "")


def _next(services: Services, version: DatasetVersion, recipe: Recipe, on_progress: Progress | None) -> DatasetVersion:
    folder = services.artifacts.dataset_dir(version.id)
    return build(services, recipe, folder, Target(version.owner, version.name, version), on_progress)
