"""What a trainer is given, and how it reports. Light: no torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from studio.core.config import RunConfig
from studio.core.errors import StudioError
from studio.core.states import State
from studio.core.stores.series import Sample


@dataclass(frozen=True)
class Shelf:
    """Where tokenised examples of one dataset's version are kept: `home/<version>/<key>/`.

    Those of all versions together take at most so many bytes; what was not read for the longest time goes first.
    """

    home: Path
    version: str
    most: int

    @property
    def folder(self) -> Path:
        """Those of this version."""
        return self.home / self.version


@dataclass(frozen=True)
class Job:
    """One attempt's work. `run_dir` gets `adapter/` and `result.json`; `model_source` is hub, wheel or local.

    `continue_folder` holds the adapter that is trained further.
    `machine` is what a worker measured of this machine; empty where it did not. `shelf` is where tokenised examples are
    kept for later attempts; None: nowhere.
    """

    run_id: str
    claim: int
    config: RunConfig
    model_folder: Path
    model_repo: str
    model_revision: str
    model_source: str
    data_parquet: Path
    run_dir: Path
    dataset_sha256: str = ""
    threads: int = 0
    spec_hash: str = ""
    checkpoint_seconds: float = 300.0
    continue_folder: Path | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    shelf: Shelf | None = None
    extra_spec: dict[str, Any] = field(default_factory=dict)


class Reporter(Protocol):
    """What the trainer writes to the records: `studio.core.stores.claims.Claimed`, or a recording one in tests."""

    def move(self, to: State, title: str, detail: str = "") -> None:
        """Change the state."""

    def event(self, kind: str, title: str, detail: str = "") -> None:
        """Append to the timeline."""

    def alarm(self, kind: str, title: str, detail: str = "") -> None:
        """Append to the timeline what is said once of a run."""

    def samples(self, step: int, answers: list[Sample]) -> None:
        """What the model of `step` answers to a few held-out prompts; 0 is the base model."""

    def metrics(self, points: list[tuple[int, str, float]]) -> None:
        """Add points of `(step, name, value)`."""

    def progress(self, step: int, steps: int) -> None:
        """Where the run is."""

    def resumed(self, step: int) -> None:
        """The attempt begins after `step`; what was measured beyond it is superseded."""

    def checkpoint(self, step: int) -> None:
        """A checkpoint of `step` is sealed."""

    def spec(self, spec: dict[str, Any]) -> None:
        """What the attempt runs with."""

    def stop_wanted(self) -> bool:
        """Whether the person asked to stop."""

    def best_wanted(self) -> bool:
        """Whether the person asked to stop and to keep the best check's weights, not the last."""


class TrainingFailed(StudioError):
    """The run can not go on. `reason` is a code such as `diverged` or `nothing_learnt`."""

    def __init__(self, reason: str, problem: str, remedy: str) -> None:
        """All three stand in the run's record."""
        super().__init__(problem, remedy)
        self.reason = reason


class StopAsked(Exception):
    """The person asked to stop: what is learnt so far is kept."""


class Yielded(Exception):
    """SIGTERM: the accelerator is wanted back; a checkpoint is saved, and the run goes on later."""
