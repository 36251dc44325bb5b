"""The records of models that were fetched whole from the Hub: `models/hub/ready/`, one a model and commit.

A record is written last: with it, and its files of the right sizes, the Hub is never asked again for that commit.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.core.artifacts import read_json, write_json
from studio.core.hub_models import HubModel
from studio.core.model_facts import ModelFacts, ModelRef, facts_of
from studio.core.model_folder import files_of, inspect
from studio.core.settings import Settings


def hub_cache(settings: Settings) -> Path:
    """Where files from the Hub lie, in its own cache's order."""
    return settings.models_dir / "hub"


def keep(settings: Settings, model: HubModel, asked: str, facts: ModelFacts, names: list[str]) -> None:
    """Record that `model`, asked for as `asked`, is here whole: `names` in the folder of `facts`."""
    assert facts.ref.folder is not None
    record = {
        "repo": model.repo,
        "commit": model.commit,
        "asked": asked,
        "folder": str(facts.ref.folder.resolve().relative_to(hub_cache(settings).resolve())),
        "files": {name: model.files[name] for name in names},
        "facts": {key: value for key, value in asdict(facts).items() if key != "ref"},
    }
    write_json(_path(settings, model.repo, model.commit), record)


def recorded(settings: Settings, repo: str, revision: str, owner: str | None = None) -> ModelFacts | None:
    """The model as fetched earlier: at this very commit, or the latest one fetched under this name of a branch.

    One that came by somebody's token is there for that `owner` alone; None is the worker, who works for all.
    """
    exact = _facts(read_json(_path(settings, repo, revision)), settings)
    if exact:
        return exact if _is_for(exact, owner) else None
    records = (read_json(path) for path in _newest_first(settings))
    named = (record for record in records if record and record["repo"] == repo and record["asked"] == revision)
    found = (_facts(record, settings) for record in named)
    return next((facts for facts in found if facts and _is_for(facts, owner)), None)


def all_here(settings: Settings, owner: str | None = None) -> list[ModelFacts]:
    """Every model that is here whole and that `owner` may use (None: all), by name."""
    found = (_facts(read_json(path), settings) for path in _newest_first(settings))
    return sorted((one for one in found if one and _is_for(one, owner)), key=lambda one: one.ref.name.lower())


def _is_for(facts: ModelFacts, owner: str | None) -> bool:
    return owner is None or facts.owner in ("", owner)


def _newest_first(settings: Settings) -> Iterator[Path]:
    paths = (hub_cache(settings) / "ready").glob("*.json")
    return iter(sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True))


def _facts(record: dict[str, Any] | None, settings: Settings) -> ModelFacts | None:
    """A record as facts; None where its files are not all there any more."""
    if not record:
        return None
    folder = hub_cache(settings).resolve() / record["folder"]
    sizes = record["files"].items()
    if not all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes):
        return None
    ref = ModelRef(record["repo"], record["commit"], "hub", folder, record["repo"])
    if "layers" not in record["facts"]:  # recorded before it was known how a model is built
        return facts_of(ref, inspect(folder, files_of(folder), ref.repo), record["facts"].get("licence", ""))
    return ModelFacts(ref, **_as_tuples(record["facts"]))


def _as_tuples(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples."""
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    return {**known, "shapes": {name: tuple(shape) for name, shape in facts["shapes"].items()}}


def _path(settings: Settings, repo: str, commit: str) -> Path:
    key = hashlib.sha256(f"{repo}@{commit}".encode()).hexdigest()[:32]
    return hub_cache(settings) / "ready" / f"{key}.json"
