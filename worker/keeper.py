"""Starts, watches and ends the playground's process, in a thread of its own that no run blocks."""

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

from studio.core.engine_client import EngineClient
from studio.core.engine_socket import socket_path
from studio.core.errors import StudioError, Unavailable
from studio.core.models import ready_folder
from studio.core.settings import Settings
from studio.core.stores.machines import FINISH_SECONDS, LOAD_SECONDS, EngineRow, MachineStore
from worker.supervise import child_environment
from worker.watch import end_session

log = logging.getLogger("tunesmith.engine")
LOOK_SECONDS = 2.0
TERM_SECONDS = 3
PATIENCE_SECONDS = 10.0
"""A busy machine may let the engine's answer to "how are you" wait so long."""
NOTHING = {"ready_repo": None, "ready_revision": None, "socket": None, "pid": None}
DIED = {"problem": "The playground's process has ended.", "remedy": "Ask again; it starts anew."}


class EngineKeeper(threading.Thread):
    """Wakes at the bell or every two seconds, and brings about what the row wants.

    The thread lives as long as the worker: the engine's parent-death signal follows it.
    """

    def __init__(self, settings: Settings, machines: MachineStore, host: str) -> None:
        """`host` names the row that is looked at."""
        super().__init__(name="engine-keeper", daemon=True)
        self._settings, self._machines, self._host = settings, machines, host
        self._bell, self._leaving = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._served = 0.0

    def wake(self) -> None:
        """Look at the row now."""
        self._bell.set()

    def stop(self) -> None:
        """End the process and the thread."""
        self._leaving.set()
        self._bell.set()
        if self.is_alive():
            self.join(TERM_SECONDS + 5)

    def run(self) -> None:
        """Until `stop`."""
        self._say(**NOTHING)
        while not self._leaving.is_set():
            try:
                self._look()
            except Unavailable as busy:
                log.warning("engine: %s", busy.problem)
            self._bell.wait(LOOK_SECONDS)
            self._bell.clear()
        self._end()

    def _look(self) -> None:
        """Compare the row with what is there."""
        died = self._process is not None and self._process.poll() is not None
        if died:
            self._process = None
            self._say(**NOTHING)
        row = self._machines.engine(self._host)
        if died and row is not None and row.wanted_at <= self._served:
            self._say(**DIED)  # else it would seem to come still
        if row is None or row.wanted_at <= self._served or (self._process is not None and row.is_ready):
            return
        if time.time() - row.wanted_at < FINISH_SECONDS and self._is_answering():
            return  # nobody begins meanwhile: who asks the model that is there is told of the other one
        self._served = row.wanted_at
        try:
            self._start(row)
        except StudioError as error:
            self._end()
            self._say(problem=error.problem, remedy=error.remedy)

    def _is_answering(self) -> bool:
        """Whether somebody is in the middle of an answer."""
        if self._process is None:
            return False
        told = EngineClient(socket_path(self._settings)).health(PATIENCE_SECONDS)
        return told is None or bool(told["busy"])

    def _start(self, row: EngineRow) -> None:
        """Begin anew with the wanted base model, and say so once it answers."""
        self._end()
        self._say(**NOTHING)
        folder = ready_folder(row.wanted_repo, row.wanted_revision, self._settings, lambda _share, _words: None).folder
        path = socket_path(self._settings)
        log_path = self._settings.data_dir / "engine.log"
        with log_path.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker", "engine", str(folder), str(path)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=child_environment(self._settings),
                start_new_session=True,
            )
        self._wait_ready(path)
        ready = {"ready_repo": row.wanted_repo, "ready_revision": row.wanted_revision}
        self._say(**ready, socket=str(path), pid=self._process.pid, problem=None, remedy=None)

    def _wait_ready(self, path: Path) -> None:
        client, deadline = EngineClient(path), time.monotonic() + LOAD_SECONDS
        while not client.ready():
            gone = self._process is None or self._process.poll() is not None
            if gone or self._leaving.is_set() or time.monotonic() > deadline:
                raise Unavailable("The playground's process could not load the base model.", "Ask again in a moment.")
            time.sleep(0.1)

    def _end(self) -> None:
        """End the process that runs, if any."""
        if self._process is not None and self._process.poll() is None:
            end_session(self._process, TERM_SECONDS)
        self._process = None

    def _say(self, **columns: object) -> None:
        try:
            self._machines.engine_is(self._host, **columns)
        except Unavailable as busy:
            log.warning("engine: %s", busy.problem)
