"""Watch one trainer: hear its pulse, end it when a stop, the worker's leaving or a limit asks for it."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from studio.core import locks
from studio.core.lineage import kill_session, started_at
from studio.core.settings import Settings
from studio.core.stores.runs import Run
from worker.verdicts import Ended

log = logging.getLogger("tunesmith.worker")
POLL_SECONDS = 0.2
TERM_SECONDS = 10
SHUTDOWN_SECONDS = 8
RELEASE_SECONDS = 10
MICRO_BATCHES = 3


@dataclass
class Trainer:
    """A trainer at work. `lifeline` is our end of a socket pair: it carries the pulse, and its closing is our death."""

    process: "subprocess.Popen[bytes]"
    lifeline: socket.socket
    oom_kills: int | None
    began: float = field(default_factory=time.monotonic)
    last_pulse: float = field(default_factory=time.monotonic)
    started: float | None = field(init=False)

    def __post_init__(self) -> None:
        """The start time is taken while the process is surely the one that we started."""
        self.started = started_at(self.process.pid)

    def listen(self) -> None:
        """Take in what came over the lifeline."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            if self.lifeline.recv(4096):
                self.last_pulse = time.monotonic()

    def end(self, seconds: float) -> None:
        """SIGTERM, which makes it save a checkpoint; after `seconds` SIGKILL to its whole session."""
        end_session(self.process, seconds)

    def release(self, lock: Path) -> None:
        """After its end: nothing of its session lives on, and the run's lock is free."""
        self.lifeline.close()
        kill_session(self.process.pid, self.started)
        deadline = time.monotonic() + RELEASE_SECONDS
        while locks.is_held(lock) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 4)


def patience(run: Run, grace: float, now: float) -> float:
    """How many seconds a stop may take: `grace`, or three micro-batches where those take longer."""
    done = run.step - run.resume_step
    if run.first_step_at is None or done < 1:
        return grace
    training = run.config.get("training", {})
    each_step = max(1, int(training.get("gradient_accumulation_steps", 1)))
    return max(grace, MICRO_BATCHES * (now - run.first_step_at) / done / each_step)


def watch(trainer: Trainer, look: Callable[[], Run], leaving: Callable[[], bool], settings: Settings) -> Ended | None:
    """Until the trainer has ended. `look` reads the run's row. Gives why a limit ended it, None for every other end."""
    stop_by: float | None = None
    while trainer.process.poll() is None:
        time.sleep(POLL_SECONDS)
        trainer.listen()
        if leaving():
            trainer.end(SHUTDOWN_SECONDS)
            continue
        run = look()
        if run.state == "stopping":
            stop_by = stop_by or time.monotonic() + patience(run, settings.stop_grace_seconds, time.time())
            if time.monotonic() > stop_by:
                log.warning("run %s did not stop by itself; it is ended", run.id)
                trainer.end(TERM_SECONDS)
        elif ended := _over_limit(trainer, settings):
            log.warning("run %s is ended: %s", run.id, ended)
            trainer.end(TERM_SECONDS)
            return ended
    return None


def _over_limit(trainer: Trainer, settings: Settings) -> Ended | None:
    now = time.monotonic()
    if settings.stall_seconds and now - trainer.last_pulse > settings.stall_seconds:
        return "stalled"
    if settings.run_limit_seconds and now - trainer.began > settings.run_limit_seconds:
        return "time_limit"
    return None


def end_session(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """SIGTERM to the child, then SIGKILL to its whole session when it takes longer than `seconds`."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
