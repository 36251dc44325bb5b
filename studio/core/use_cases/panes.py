"""Who can answer in the playground: a base model, the adapters on it, the checkpoints of runs that still go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studio.core.artifacts import is_published
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.use_cases.chat import AT, BASE, checkpoints_of


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
    return is_published(services.artifacts.adapter_dir(run.id))


def checkpoint_steps(services: Services, run: Run) -> list[int]:
    """The steps of a going run's checkpoints that can be asked, the newest first."""
    return [one.step for one in reversed(checkpoints_of(services, run))]


def askable(services: Services, owner: str) -> list[Run]:
    """A person's runs of which anything can be asked, the newest first."""
    return [run for run in services.runs.of(owner) if has_adapter(services, run) or checkpoint_steps(services, run)]


def voices_of(services: Services, run: Run) -> list[Voice]:
    """What one run has to offer: its adapter, or its checkpoints while it goes."""
    if has_adapter(services, run):
        return [Voice(run.id, run.name, int((run.result or {}).get("steps") or run.step))]
    return [Voice(f"{run.id}{AT}{step}", run.name, step, step) for step in checkpoint_steps(services, run)]


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
    run_id, _, step = name.partition(AT)
    title = names.get(run_id, "a deleted run")
    return f"{title}, step {step}" if step else title
