"""Talking to what runs have made and to their base models: bring the engine up, attach, stream."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.core import checkpoints
from studio.core.artifacts import PUBLISHED, is_published
from studio.core.catalog import STARTER_REPO
from studio.core.engine_client import EngineClient
from studio.core.errors import Conflict, NotFound, Refused, Unavailable
from studio.core.models import look_up
from studio.core.other_engine import OtherEngine
from studio.core.services import Services
from studio.core.stores.runs import Run

PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.1
BASE = "base"
AT = "@"
TAKEN = "Another base model was asked for, and is being loaded.", "Ask again in a moment."


@dataclass(frozen=True)
class Tuned:
    """What a run has made: its adapter, or the checkpoint of a step, under the engine's `name` for it."""

    name: str
    run: Run
    folder: Path

    @property
    def bits(self) -> tuple[str, bool]:
        """How the run had its base model."""
        base = dict(self.run.config.get("base", {}))
        return str(base.get("quantization", "none")), bool(base.get("bnb_4bit_use_double_quant", True))


def open_engine(services: Services, repo: str, revision: str, patience: float = PATIENCE_SECONDS) -> EngineClient:
    """A client of the playground's process with this base model; starts it where it is not there.

    Raises `Unavailable` with the reason: no worker, a base model that can not be loaded, or it takes too long; and
    `Conflict` where another base model is on its way, or another server stands in its place with another one.
    """
    if services.settings.engine_url:
        return OtherEngine(services.settings.engine_url).checked(repo)
    machine = services.machines.newest()
    if machine is None or not machine.is_here:
        raise Unavailable("No worker is running, so nobody can answer.", "Start it: tunesmith up, or tunesmith worker.")
    row = services.machines.engine(machine.host)
    if row is not None and row.comes and (row.wanted_repo, row.wanted_revision) != (repo, revision):
        raise Conflict(*TAKEN)
    fits = row is not None and row.is_ready and (row.ready_repo, row.ready_revision) == (repo, revision)
    client = EngineClient(Path(row.socket)) if fits and row and row.socket else None
    if client is not None and client.ready():
        if row and not row.problem and (row.wanted_repo, row.wanted_revision) == (repo, revision):
            return client
    elif row is None or not row.comes:  # who asks for what comes already must not put it off
        services.machines.want_engine(machine.host, repo, revision)
        services.bell.ring_engine()
    return _wait(services, machine.host, (repo, revision), time.monotonic() + patience)


def _wait(services: Services, host: str, wanted: tuple[str, str], deadline: float) -> EngineClient:
    while time.monotonic() < deadline:
        row = services.machines.engine(host)
        if row is not None and row.problem:
            raise Unavailable(row.problem, row.remedy or "Ask again in a moment.")
        if row is not None and (row.wanted_repo, row.wanted_revision) != wanted:
            raise Conflict(*TAKEN)
        if row is not None and row.is_ready and row.socket:
            client = EngineClient(Path(row.socket))
            if client.ready():
                return client
        time.sleep(POLL_SECONDS)
    raise Unavailable("The playground's process takes too long to start.", "Ask again in a moment.")


def open_model(services: Services, owner: str, names: Sequence[str]) -> EngineClient:
    """The engine with all these models of this person's: "base", a run's id, or "<run id>@<step>" for a checkpoint.

    "base" is the base model of the others, alone it is the starter model. Raises `NotFound`, `Conflict` where one has
    nothing that answers or they can not stand beside one another, `Refused` or `Unavailable`.
    """
    wanted = [_tuned(services, owner, name) for name in dict.fromkeys(names) if name != BASE]
    if not wanted:
        starter = look_up(STARTER_REPO, "main", services.settings).ref
        return open_engine(services, starter.repo, starter.revision)
    bases = {(one.run.base_repo, one.run.base_revision) for one in wanted}
    if len(bases) > 1:
        raise Conflict("These models were trained from different base models.", "Compare runs of one base model.")
    if len({one.bits for one in wanted}) > 1:
        raise Conflict("These runs had their base model in different precisions.", "Compare runs of the same one.")
    client = open_engine(services, *bases.pop())
    for one in wanted:
        _attach(client, one)
    return client


def checkpoints_of(services: Services, run: Run) -> list[checkpoints.Checkpoint]:
    """The checkpoints of a going run that can be asked, the oldest first; a whole model's hold no adapter."""
    found = checkpoints.sealed(services.artifacts.checkpoints_dir(run.id)) if run.is_live else []
    return [one for one in found if PUBLISHED[0] in one.files]


def open_pair(services: Services, run: Run) -> EngineClient:
    """The engine with the run's base model, the run's adapter attached under the run's id."""
    return open_model(services, run.owner, [BASE, run.id])


def _tuned(services: Services, owner: str, name: str) -> Tuned:
    """Where the model of this name lies. Raises `NotFound` or `Conflict`."""
    run_id, at, step = name.partition(AT)
    run = services.runs.get(run_id, owner)
    if at:
        root = services.artifacts.checkpoints_dir(run.id)
        if not step.isascii() or not step.isdigit() or len(step) > 12:
            raise NotFound(f"There is no checkpoint '{step[:20]}'.", "Choose a step of the list.")
        return Tuned(name, run, checkpoints.folder_of(root, int(step)))
    folder = services.artifacts.adapter_dir(run.id)
    if not is_published(folder):
        raise Conflict("This run has no adapter yet.", "Wait until it has finished, or choose another run.")
    return Tuned(name, run, folder)


def _attach(client: EngineClient, one: Tuned) -> None:
    """Attach what is not attached yet. A checkpoint is looked through first; it may be removed as its run goes on."""
    if AT in one.name:
        health = client.health() or {}
        if one.name in health.get("adapters", ()):
            return
        found = next((c for c in checkpoints.sealed(one.folder.parent) if c.folder == one.folder), None)
        if found is None or not checkpoints.is_whole(found):
            raise NotFound("This checkpoint is no longer there.", "Choose a newer one.")
    template = (one.run.spec or {}).get("template_source")
    try:
        client.attach(one.name, one.folder, *one.bits, template)
    except Refused:
        if AT in one.name and not one.folder.is_dir():  # rotated away in between
            raise NotFound("This checkpoint is no longer there.", "Choose a newer one.") from None
        raise
