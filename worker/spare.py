"""Keeps one trainer in reserve that has imported everything and waits for a run: a start then takes no seconds.

The two speak over a socket pair, which later is the lifeline. The spare says that it is ready; it is given a run and a
claim with the descriptors of the locks and the log; it answers that it has them. Until then the supervisor holds the
locks too, so a spare that fails to answer costs the run nothing: a fresh trainer takes its place.
"""

import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from studio.core.failpoints import failpoint
from worker import cgroup
from worker.trainer.waiting import READY, TAKEN

log = logging.getLogger("tunesmith.worker")
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 10.0
MOST_PAUSE = 300.0
PACKAGES = ("tunesmith", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "bitsandbytes")
SOURCES = tuple(Path(__file__).parents[1] / part for part in ("studio", "worker"))
Process = subprocess.Popen[bytes]


@dataclass
class Spare:
    """A process in reserve. `line` is our end of the socket pair; `stamp` says what it was started with."""

    process: Process
    line: socket.socket
    stamp: str
    ready: bool = False

    def look(self) -> bool:
        """Whether it lives; takes in its word that it is ready."""
        with suppress(BlockingIOError, ConnectionError):
            self.ready = READY in self.line.recv(64, socket.MSG_DONTWAIT) or self.ready
        return self.process.poll() is None

    def take(self, run_id: str, claim: int, held: tuple[int, ...]) -> bool:
        """Give it a run with the descriptors `held`. True once it has answered that they are its own."""
        order = json.dumps({"run": run_id, "claim": claim}).encode() + b"\n"
        self.line.settimeout(ANSWER_SECONDS)
        try:
            failpoint("spare.handing", run=run_id, claim=claim, trainer=self.process.pid)
            socket.send_fds(self.line, [order], held)
            failpoint("spare.handed", run=run_id, claim=claim, trainer=self.process.pid)
            while heard := self.line.recv(64):
                if TAKEN in heard:
                    self.line.setblocking(False)
                    return True
        except OSError as error:  # it died, or is too slow
            log.warning("the spare trainer did not take the run: %s", error)
        return False

    def end(self) -> None:
        """SIGKILL to its session: it has nothing to save."""
        self.line.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class SpareKeeper(threading.Thread):
    """Starts, watches and replaces the spare trainer, and hands it over.

    The thread lives as long as what it started: the parent-death signal of a trainer follows the starting thread.
    """

    command = (sys.executable, "-m", "worker", "spare")  # the chaos tests put a faster one in its place

    def __init__(self, environment: Callable[[], dict[str, str]], wanted: Callable[[], bool], floor: int) -> None:
        """`environment` is a trainer's; `wanted` says whether the machine has time for a start now; below `floor`
        bytes of free memory none is kept."""
        super().__init__(name="spare-keeper", daemon=True)
        self._environment, self._wanted, self._floor = environment, wanted, floor
        self._guard, self._bell, self._leaving = threading.Lock(), threading.Event(), threading.Event()
        self._spare: Spare | None = None
        self._given: list[Process] = []
        self._pause, self._not_before = LOOK_SECONDS, 0.0

    def stop(self) -> None:
        """End the spare; the thread ends with the last trainer that came from it."""
        self._leaving.set()
        self._bell.set()

    def is_ready(self) -> bool:
        """Whether a spare waits for a run."""
        with self._guard:
            return self._spare is not None and self._spare.look() and self._spare.ready

    def run(self) -> None:
        """Until `stop`, and then as long as a trainer lives that was a spare."""
        while not self._leaving.is_set():
            try:
                self._look()
            except Exception as error:  # a door: without a spare a run only begins later
                log.warning("spare trainer: %s", error)
            self._bell.wait(LOOK_SECONDS)
        with self._guard:
            self._drop()
        for process in self._given:
            process.wait()

    def hand_over(self, run_id: str, claim: int, held: tuple[int, ...]) -> tuple[Process, socket.socket] | None:
        """Send the spare to work on a run, with the descriptors of its locks and its log, which stay open here.

        Gives the process and its lifeline; None where there is no spare, or it is not what would be started now.
        """
        with self._guard:
            spare, self._spare = self._spare, None
        if spare is None:
            return None
        if spare.look() and spare.stamp == stamp(self._environment()) and spare.take(run_id, claim, held):
            self._given = [*(one for one in self._given if one.poll() is None), spare.process]
            return spare.process, spare.line
        spare.end()
        return None

    def _look(self) -> None:
        """Drop a spare that is of no use, start one where there is none."""
        crowded = cgroup.free_memory() < self._floor
        with self._guard:
            if self._spare is not None and not self._is_good(self._spare, crowded):
                self._drop()
            if self._spare is not None or crowded or time.monotonic() < self._not_before or not self._wanted():
                return
            self._spare = self._start()

    def _is_good(self, spare: Spare, crowded: bool) -> bool:
        if not spare.look():
            if not spare.ready:  # it can not be started: do not try again and again
                self._pause = min(2 * self._pause, MOST_PAUSE)
                self._not_before = time.monotonic() + self._pause
            return False
        if spare.ready:
            self._pause = LOOK_SECONDS
        return not crowded and spare.stamp == stamp(self._environment())

    def _start(self) -> Spare:
        """A fresh process in its own session. It says nothing: where it fails, a fresh trainer tells why in its log."""
        ours, its = socket.socketpair()
        environment = self._environment()
        with its:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**environment, "TUNESMITH_LIFELINE": str(its.fileno())},
                start_new_session=True,
                pass_fds=(its.fileno(),),
            )
        failpoint("spare.started", trainer=process.pid)
        return Spare(process, ours, stamp(environment))

    def _drop(self) -> None:
        if self._spare is not None:
            self._spare.end()
            self._spare = None


def stamp(environment: dict[str, str]) -> str:
    """A hash of what a trainer would be started with now: its environment and the code on the disk."""
    said = json.dumps([environment, sys.executable, [_version(name) for name in PACKAGES], _sources()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _version(name: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(name)
    return None


def _sources() -> list[tuple[str, int]]:
    """Our own files with their times: a developer's edit counts too."""
    return sorted((str(path), path.stat().st_mtime_ns) for folder in SOURCES for path in folder.rglob("*.py"))
