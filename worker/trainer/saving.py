"""When and how a run's state is written down, and from which one an attempt goes on.

The files are transformers' own (adapter, optimizer, schedule, random numbers, counters) beside one of ours; the seal
that makes a checkpoint of them is `studio.core.checkpoints`.
"""

import logging
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from studio.core import checkpoints
from studio.core.artifacts import read_json, write_json
from studio.core.checkpoints import Checkpoint
from studio.core.failpoints import failpoint
from worker.trainer.failures import explain
from worker.trainer.job import Job, Reporter, TrainingFailed

log = logging.getLogger("tunesmith.trainer")
OURS = "attempt.json"
SPARE = 1.5  # of the last checkpoint's size must be free for the next


@dataclass(frozen=True)
class Kept:
    """What a later attempt must not find out anew: number format and threads change the rounding.

    `best` is the lowest loss of a check, made at `best_step`; `waited` counts the checks since.
    """

    dtype: str
    threads: int
    learnt: int
    base_loss: float | None = None
    last_check: tuple[int, float] | None = None
    best: float | None = None
    best_step: int = 0
    waited: int = 0


@dataclass(frozen=True)
class Resume:
    """The verified checkpoint that an attempt goes on from, and what is kept in it."""

    checkpoint: Checkpoint
    kept: Kept


class Saver:
    """Finds the newest verified checkpoint; writes, seals and rotates new ones."""

    def __init__(self, job: Job, reporter: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        """Looks at nothing yet."""
        self._job, self._reporter, self._clock = job, reporter, clock
        self.root = job.run_dir / "checkpoints"
        self._last, self._size, self._told = clock(), 0, False
        self.last_step = 0  # of the newest checkpoint that is whole
        self._numbers = _random_numbers()

    def find(self) -> Resume | None:
        """The newest checkpoint that is whole. A damaged newer one is named in the timeline.

        Raises `TrainingFailed` where there are some and none is whole: to begin again is the person's choice.
        """
        sealed = [one for one in checkpoints.sealed(self.root) if one.spec == self._job.spec_hash]
        found = checkpoints.newest(self.root, self._job.spec_hash)
        if found is None and sealed:
            problem = f"The checkpoint of step {sealed[-1].step:,} is damaged, and there is no older one."
            raise TrainingFailed("checkpoints_damaged", problem, "Retry it: the new run begins from the start.")
        if found is None:
            return None
        if found.step < sealed[-1].step:
            title = f"The checkpoint of step {sealed[-1].step:,} is damaged"
            self._reporter.event("warning", title, f"The one of step {found.step:,} is used.")
        self._size, self.last_step = found.size, found.step
        kept: dict[str, Any] = read_json(found.folder / OURS)
        check = kept.pop("last_check")
        return Resume(found, Kept(**kept, last_check=(int(check[0]), float(check[1])) if check else None))

    def best(self, step: int) -> Path | None:
        """The folder of the verified checkpoint of `step`; None where there is none."""
        folder = checkpoints.folder_of(self.root, step)
        return folder if checkpoints.verified(folder, self._job.spec_hash) else None

    def began(self) -> None:
        """The loop begins: time counts from now."""
        self._last = self._clock()
        self.step_ended()

    def step_ended(self) -> None:
        """Keep the random numbers of this moment: a stop in mid-step saves the state of the last step's end."""
        self._numbers = _random_numbers()

    def rewind(self) -> None:
        """Draw the random numbers since the last step's end anew: the step is done again."""
        _set_random_numbers(self._numbers)

    def is_due(self) -> bool:
        """Whether the time for the next checkpoint has come."""
        return self._clock() - self._last >= self._job.checkpoint_seconds

    def save(self, step: int, write: Callable[[Path], None], kept: Kept, best: bool = False) -> None:
        """A checkpoint of `step`; `write` puts the trainer's files into its folder. A full disk is only a warning."""
        folder = checkpoints.folder_of(self.root, step)
        if checkpoints.verified(folder, self._job.spec_hash):
            return
        self._last = self._clock()
        self.root.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.root).free < SPARE * self._size:
            return self._no_room(step)
        try:
            self._write(folder, step, write, kept, best)
        except Exception as error:
            if not (folder / checkpoints.SEAL).exists():  # a sealed one counts, also where telling of it failed
                checkpoints.remove(folder)
            failure = explain(error)
            if failure is None or failure.reason != "disk_full":
                raise
            self._no_room(step)
        self._last = self._clock()

    def _write(self, folder: Path, step: int, write: Callable[[Path], None], kept: Kept, best: bool) -> None:
        checkpoints.remove(folder)  # of an attempt that was killed meanwhile
        failpoint("checkpoint.begun", run=self._job.run_id, claim=self._job.claim, step=step)
        now = _random_numbers()
        _set_random_numbers(self._numbers)
        try:
            write(folder)
        finally:
            _set_random_numbers(now)
        write_json(folder / OURS, asdict(kept))
        sealed = checkpoints.seal(folder, step, self._job.claim, self._job.spec_hash, best)
        self._size, self.last_step = sealed.size, step
        self._reporter.checkpoint(step)
        failpoint("checkpoint.recorded", run=self._job.run_id, claim=self._job.claim, step=step)
        checkpoints.rotate(self.root, self._job.spec_hash)
        log.info("checkpoint at step %d, %.1f MB", step, sealed.size / 1e6)

    def _no_room(self, step: int) -> None:
        """Say once that checkpoints do not fit; training goes on."""
        log.warning("no room for a checkpoint at step %d", step)
        if not self._told:
            self._told = True
            words = "The disk is too full. Training goes on; after an interruption it begins at an older step."
            self._reporter.event("warning", f"No checkpoint at step {step:,}", words)


def _random_numbers() -> dict[str, Any]:
    """The states of all generators that training draws from."""
    found = {"python": random.getstate(), "numpy": numpy.random.get_state(), "torch": torch.get_rng_state()}
    return found | ({"cuda": torch.cuda.get_rng_state_all()} if torch.cuda.is_available() else {})


def _set_random_numbers(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    numpy.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states:
        torch.cuda.set_rng_state_all(states["cuda"])
