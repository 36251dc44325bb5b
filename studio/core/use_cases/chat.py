"""Talking to a run's adapter and to its base model: bring the engine up, attach, stream."""

import time
from pathlib import Path

from studio.core.engine_client import EngineClient
from studio.core.errors import Conflict, Unavailable
from studio.core.services import Services
from studio.core.stores.runs import Run

PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.1


def open_engine(services: Services, repo: str, revision: str, patience: float = PATIENCE_SECONDS) -> EngineClient:
    """A client of the playground's process with this base model; starts it where it is not there.

    Raises `Unavailable` with the reason: no worker, a base model that can not be loaded, or it takes too long.
    """
    machine = services.machines.newest()
    if machine is None or not machine.is_here:
        raise Unavailable("No worker is running, so nobody can answer.", "Start it: tunesmith up, or tunesmith worker.")
    row = services.machines.engine(machine.host)
    fits = row is not None and row.is_ready and (row.ready_repo, row.ready_revision) == (repo, revision)
    if not (fits and row and row.socket and EngineClient(Path(row.socket)).ready()):
        services.machines.want_engine(machine.host, repo, revision)
        services.bell.ring_engine()
    return _wait(services, machine.host, (repo, revision), time.monotonic() + patience)


def _wait(services: Services, host: str, wanted: tuple[str, str], deadline: float) -> EngineClient:
    while time.monotonic() < deadline:
        row = services.machines.engine(host)
        if row is not None and row.problem:
            raise Unavailable(row.problem, row.remedy or "Ask again in a moment.")
        if row is not None and (row.wanted_repo, row.wanted_revision) != wanted:
            raise Conflict("Somebody else asked for another base model.", "Ask again in a moment.")
        if row is not None and row.is_ready and row.socket:
            client = EngineClient(Path(row.socket))
            if client.ready():
                return client
        time.sleep(POLL_SECONDS)
    raise Unavailable("The playground's process takes too long to start.", "Ask again in a moment.")


def open_pair(services: Services, run: Run) -> EngineClient:
    """The engine with the run's base model, the run's adapter attached under the run's id."""
    folder = services.artifacts.adapter_dir(run.id)
    if not (folder / "adapter_model.safetensors").is_file() and not (folder / "config.json").is_file():
        raise Conflict("This run has no adapter yet.", "Wait until it has finished, or choose another run.")
    client = open_engine(services, run.base_repo, run.base_revision)
    base = dict(run.config.get("base", {}))
    client.attach(run.id, folder, base.get("quantization", "none"), base.get("bnb_4bit_use_double_quant", True))
    return client
