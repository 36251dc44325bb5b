"""Who can answer in the playground: a base model, the adapters on it, the checkpoints of runs that still go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio.core.checkpoints import folder_of, is_whole, sealed
from studio.core.engine_client import EngineClient
from studio.core.errors import Conflict
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.use_cases.chat import open_engine, open_pair

BASE = "base"
WEIGHTS = ("adapter_model.safetensors", "config.json")


@dataclass(frozen=True)
class Voice:
    """One who can answer. `name` is the engine's; `step` stands for a checkpoint; `gone` can not answer any more."""

    name: str
    title: str
    steps: int = 0
    step: int = 0
    gone: bool = False

    @property
    def is_base(self) -> bool:
        """Whether it is the base model alone."""
        return self.name == BASE


def has_adapter(services: Services, run: Run) -> bool:
    """Whether the run has left something that answers."""
    folder = services.artifacts.adapter_dir(run.id)
    return any((folder / name).is_file() for name in WEIGHTS)


def checkpoint_steps(services: Services, run: Run) -> list[int]:
    """The steps of a going run's checkpoints that can be asked, the newest first."""
    if not run.is_live:
        return []
    found = sealed(services.artifacts.checkpoints_dir(run.id))
    return [one.step for one in reversed(found) if "adapter_model.safetensors" in one.files]


def askable(services: Services, owner: str) -> list[Run]:
    """A person's runs of which anything can be asked, the newest first."""
    return [run for run in services.runs.of(owner) if has_adapter(services, run) or checkpoint_steps(services, run)]


def voices_of(services: Services, run: Run) -> list[Voice]:
    """What one run has to offer: its adapter, or its checkpoints while it goes."""
    if has_adapter(services, run):
        return [Voice(run.id, run.name, int((run.result or {}).get("steps") or run.step))]
    return [Voice(f"{run.id}@{step}", run.name, step, step) for step in checkpoint_steps(services, run)]


def cast_of(services: Services, runs: Sequence[Run], base: tuple[str, str], base_title: str) -> list[Voice]:
    """All who can answer beside each other: the base model, then what was trained on it."""
    same = [run for run in runs if (run.base_repo, run.base_revision) == base]
    return [Voice(BASE, base_title), *(voice for run in same for voice in voices_of(services, run))]


@dataclass(frozen=True)
class Seating:
    """Who sits where: `home` is the page's run, `voices` are all who may answer beside it, `names` those who do."""

    home: Run
    voices: tuple[Voice, ...]
    names: tuple[str, ...]

    @property
    def seated(self) -> list[Voice]:
        """Who answers, pane by pane."""
        known = {voice.name: voice for voice in self.voices}
        return [known.get(name) or lost(name) for name in self.names]

    @property
    def wanted(self) -> list[str]:
        """What the engine needs to hold: all who answer, and one that says which base model it is."""
        return [*self.names, *[voice.name for voice in self.voices if not voice.is_base][:1]]


def seating(services: Services, owner: str, home: Run, names: Sequence[str] = ()) -> Seating:
    """Who can answer beside the run `home`; the base model and it where no `names` are given."""
    own = voices_of(services, home)
    others = [run for run in askable(services, owner) if run.id != home.id]
    voices = cast_of(services, [home, *others], (home.base_repo, home.base_revision), home.base_repo.rpartition("/")[2])
    return Seating(home, tuple(voices), tuple(names) or (BASE, *[voice.name for voice in own[:1]]))


def lost(name: str) -> Voice:
    """Somebody who answered once and is not there any more."""
    return Voice(name, "Base model" if name == BASE else "A deleted run", gone=True)


def title_of(names: Mapping[str, str], name: str) -> str:
    """Who a name of the engine is, in words; `names` are the names of runs by their ids."""
    if name == BASE:
        return "Base"
    run_id, _, step = name.partition("@")
    title = names.get(run_id, "a deleted run")
    return f"{title}, step {step}" if step else title


def open_panes(services: Services, owner: str, names: Sequence[str]) -> EngineClient:
    """The engine with all of `names` on it; at least one is not the base model, and says which that is.

    Raises `NotFound`, `Conflict`, `Unavailable`.
    """
    wanted = [name for name in dict.fromkeys(names) if name != BASE]
    runs = {name: services.runs.get(name.partition("@")[0], owner) for name in wanted}
    if len({(run.base_repo, run.base_revision) for run in runs.values()}) != 1:
        raise Conflict("These have different base models.", "Choose those that came from one.")
    client: EngineClient | None = None
    for name in wanted:
        client = attached(services, runs[name], name)
    assert client is not None
    return client


def attached(services: Services, run: Run, name: str) -> EngineClient:
    """The engine with a run's adapter, or one of its checkpoints, attached as `name`."""
    step = name.partition("@")[2]
    if not step:
        return open_pair(services, run)
    folder = folder_of(services.artifacts.checkpoints_dir(run.id), int(step)) if step.isdecimal() else None
    found = next((one for one in sealed(services.artifacts.checkpoints_dir(run.id)) if one.folder == folder), None)
    if found is None or not is_whole(found):
        raise Conflict(f"The checkpoint of step {step[:12]} is gone.", "Choose a newer one.")
    client = open_engine(services, run.base_repo, run.base_revision)
    base = dict(run.config.get("base", {}))
    quantization, double = base.get("quantization", "none"), base.get("bnb_4bit_use_double_quant", True)
    client.attach(name, found.folder, quantization, double)
    return client
