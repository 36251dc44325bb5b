"""The names under which programs ask for models: bases by their repo, adapters as `ft:<base>:<run's name>:<run's id>`,
and with `:ckpt-step-<step>` behind it the checkpoints of a run that still goes.

The shape is OpenAI's own for what was fine-tuned. The id alone decides; base and name are there to be read, so a name
that was written down goes on working. Nothing here starts the engine or reads a weight.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import PurePath

from studio.core.artifacts import is_id, is_published
from studio.core.catalog import STARTER_REPO
from studio.core.engine_client import EngineClient
from studio.core.errors import NotFound
from studio.core.models import here, is_path
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.use_cases.chat import AT, BASE, checkpoints_of, open_engine, open_model

MOST_RUNS = 1000
ANSWERING = ("succeeded", "stopped")
STEP = "ckpt-step-"


@dataclass(frozen=True)
class NamedModel:
    """One model that a person's programs may ask. `run` is none for a base model; `created` is UTC seconds or 0.

    `step` stands for a checkpoint.
    """

    name: str
    repo: str
    revision: str
    created: int = 0
    run: Run | None = None
    parent: str = ""
    step: int = 0

    @property
    def asked_as(self) -> str:
        """Its name inside the engine."""
        if self.run is None:
            return BASE
        return f"{self.run.id}{AT}{self.step}" if self.step else self.run.id

    @property
    def owned_by(self) -> str:
        """The organisation of a base model, else the person."""
        return self.run.owner if self.run else self.name.partition("/")[0]


def slug(text: str, fallback: str) -> str:
    """A person's words as plain lowercase letters, so that they stand in an address and a shell as they are."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return plain[:40].rstrip("-") or fallback


def base_name(repo: str) -> str:
    """A base model's public name: its repo; for a folder on this machine the folder's name, never its path."""
    if not is_path(repo):
        return repo
    mark = hashlib.sha256(repo.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"local/{slug(PurePath(repo).name, 'model')}-{mark}"


def tuned_name(run: Run) -> str:
    """The public name of what a run made."""
    return f"ft:{base_name(run.base_repo)}:{slug(run.name, 'run')}:{run.id}"


def models_of(services: Services, owner: str) -> list[NamedModel]:
    """All that this person's programs may ask: the starter model, other bases, then adapters, the newest first."""
    runs = services.runs.of(owner, MOST_RUNS)
    found = [model for run in runs for model in made_by(services, run)]
    tuned = sorted(found, key=lambda model: model.created, reverse=True)
    return [*_bases(services, owner, [model.run for model in tuned if model.run]), *tuned]


def made_by(services: Services, run: Run) -> list[NamedModel]:
    """What a run offers: its adapter where it has ended with one, its checkpoints while it goes."""
    if can_answer(services, run):
        return [_tuned(run)]
    made, found = _tuned(run), checkpoints_of(services, run)
    return [replace(made, name=f"{made.name}:{STEP}{one.step}", created=int(one.at), step=one.step) for one in found]


def _bases(services: Services, owner: str, runs: list[Run]) -> list[NamedModel]:
    """One for each repo: what lies here, and the folders of this machine that a run began from."""
    found: dict[str, NamedModel] = {}
    for ref in here(services.settings, owner):
        created = int(ref.folder.stat().st_mtime) if ref.folder and ref.folder.exists() else 0
        found.setdefault(ref.repo, NamedModel(base_name(ref.repo), ref.repo, ref.revision, created))
    for run in runs:
        name = base_name(run.base_repo)
        found.setdefault(run.base_repo, NamedModel(name, run.base_repo, run.base_revision, int(run.created_at)))
    return list(found.values())


def _tuned(run: Run) -> NamedModel:
    created = int(run.ended_at or run.created_at)
    return NamedModel(tuned_name(run), run.base_repo, run.base_revision, created, run, base_name(run.base_repo))


def can_answer(services: Services, run: Run) -> bool:
    """Whether the run has ended with something that answers."""
    return run.state in ANSWERING and is_published(services.artifacts.adapter_dir(run.id))


def find_model(services: Services, owner: str, name: str) -> NamedModel:
    """The model of this name. Raises `NotFound`, with the same words for what is not there and what is another's."""
    whole, _, step = name.partition(f":{STEP}")
    run_id = whole.rpartition(":")[2]
    if name.startswith("ft:") and is_id(run_id):
        try:
            made = made_by(services, services.runs.get(run_id, owner))
        except NotFound:
            raise no_model(name) from None
        found = next((model for model in made if step == (str(model.step) if model.step else "")), None)
        if found is None:
            raise no_model(name)
        return found
    if name == STARTER_REPO:  # the common case asks no run
        return _bases(services, owner, [])[0]
    for model in models_of(services, owner):
        if model.name == name and model.run is None:
            return model
    raise no_model(name)


def no_model(name: str) -> NotFound:
    """Said of a name that means nothing to this person."""
    return NotFound(f"The model '{name[:120]}' does not exist, or it is not yours.", "GET /v1/models lists them.")


def open_named(services: Services, model: NamedModel) -> EngineClient:
    """The engine with this model in it, started where it is not there. Raises `Unavailable`, `Conflict`, `Refused`.

    Blocks until it answers: for a thread.
    """
    if model.run is None:
        return open_engine(services, model.repo, model.revision)
    return open_model(services, model.run.owner, [model.asked_as])
