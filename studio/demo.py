"""`tunesmith demo`: the main job headless, by a row and the worker, like every other run."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from studio.core.errors import Unavailable
from studio.core.lineage import PARENT_VARIABLE
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.starter import fetch
from studio.core.states import ENDED
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.demo import demo_dataset, start_demo

POLL_SECONDS = 0.5
STARTS = 3
TERM_SECONDS = 20


def run_demo(settings: Settings, console: Console) -> dict[str, Any]:
    """A new demo run, waited for. `seconds` runs from submit to verdict; fetching the model is not in it."""
    services = open_services(settings)
    with _progress(console) as progress:
        task = progress.add_task("Starter model", total=1.0)
        fetch(settings, lambda share, words: progress.update(task, completed=share, description=words))
        progress.update(task, completed=1.0, description="Starter model is here")
        demo_dataset(services, LOCAL_USER)
        worker = _Helper(settings)
        try:
            began = time.monotonic()
            run = _wait(services, start_demo(services, LOCAL_USER), progress, worker)
            took = time.monotonic() - began
        finally:
            worker.end()
    return _report(services, run, took)


def _progress(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=False)


def _wait(services: Services, run: Run, progress: Progress, worker: "_Helper") -> Run:
    """Poll the row until the run has ended, with a worker at it."""
    task = progress.add_task("Queued", total=1.0)
    while run.state not in ENDED:
        worker.ensure()
        time.sleep(POLL_SECONDS)
        run = services.runs.get(run.id, LOCAL_USER)
        words = f"{run.state.capitalize()}, step {run.step} of {run.steps}" if run.steps else run.state.capitalize()
        progress.update(task, completed=run.step / max(run.steps, 1), description=words)
    return run


def _report(services: Services, run: Run, took: float) -> dict[str, Any]:
    result = run.result or {}
    report: dict[str, Any] = {
        "ok": run.state == "succeeded",
        "run_id": run.id,
        "state": run.state,
        "seconds": round(took, 1),
        "base": result.get("base"),
        "tuned": result.get("tuned"),
        "adapter_dir": str(services.artifacts.adapter_dir(run.id).resolve()),
        "peak_rss_mb": result.get("peak_rss_mb"),
        "dtype": result.get("dtype"),
        "steps": run.steps,
        "held_out": result.get("held_out"),
        "source": (run.spec or {}).get("model", {}).get("source"),
    }
    if run.state != "succeeded":
        report |= {"reason": run.reason, "problem": run.problem, "remedy": run.remedy}
    return report


class _Helper:
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
