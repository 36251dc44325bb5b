"""A run without a page, waited for: a worker of our own where none serves, a bar of progress, and the way to stop."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from studio.core.errors import Conflict, Unavailable
from studio.core.lineage import PARENT_VARIABLE
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.states import ENDED
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.line import own_pace
from studio.core.use_cases.steer import stop_run

POLL_SECONDS = 0.5
STARTS = 3
TERM_SECONDS = 20
STOPPING = "Stopping after this step; what was learnt is kept. Once more leaves at once."


@dataclass(frozen=True)
class Ended:
    """A run that has ended, how many seconds it took since it was waited for, and whether Ctrl-C stopped it."""

    run: Run
    seconds: float
    interrupted: bool = False


def progress_on(console: Console) -> Progress:
    """The bar of a run, with what it does in words."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=False)


def wait(services: Services, run: Run, progress: Progress, worker: "OwnWorker") -> Ended:
    """Watch the row until the run has ended, with a worker at it. The first Ctrl-C stops the run and waits on."""
    began, interrupted = time.monotonic(), False
    task = progress.add_task("Queued", total=1.0)
    while run.state not in ENDED:
        try:
            worker.ensure()
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            progress.console.print(STOPPING, markup=False)
            _stop(services, run)
        run = services.runs.get(run.id, LOCAL_USER)
        progress.update(task, completed=run.step / max(run.steps, 1), description=words_of(services, run))
    return Ended(run, time.monotonic() - began, interrupted)


def _stop(services: Services, run: Run) -> None:
    try:
        stop_run(services, LOCAL_USER, run.id)
    except Conflict:  # it ended meanwhile
        return


def words_of(services: Services, run: Run) -> str:
    """ "Running, step 12 of 36, loss 1.2, 340 tokens/s, 2 min left"."""
    parts = [run.state.capitalize()]
    if run.steps:
        parts.append(f"step {run.step:,} of {run.steps:,}")
    if run.state == "running":
        newest = services.metrics.latest(run.id)
        if "loss" in newest:
            parts.append(f"loss {newest['loss']:.3g}")
        if "tokens_per_s" in newest:
            parts.append(f"{newest['tokens_per_s']:,.0f} tokens/s")
        left = own_pace(run, time.time())
        if left is not None:
            parts.append(f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left")
    return ", ".join(parts)


class OwnWorker:
    """The worker that serves this data dir, or one of our own for as long as nobody else's does."""

    def __init__(self, settings: Settings) -> None:
        """Starts nothing yet."""
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def ensure(self) -> None:
        """Start one where none serves: also when the one that did has left. Raises `Unavailable` after three tries."""
        ours_lives = self._process is not None and self._process.poll() is None
        if ours_lives or _is_served(self._settings):
            return
        if self._starts == STARTS:
            raise Unavailable("The worker does not stay up.", "Look at its words above.")
        self._starts += 1
        given = self._settings.model_dump(mode="json", exclude_none=True)
        ours = {f"TUNESMITH_{name.upper()}": str(value) for name, value in given.items()}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker"],
            env={**os.environ, **ours, PARENT_VARIABLE: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
        )

    def end(self) -> None:
        """End ours, if there is one."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(TERM_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)


def _is_served(settings: Settings) -> bool:
    """Whether a worker holds the supervisor's lock."""
    path = settings.locks_dir / "supervisor.lock"
    if not path.exists():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
