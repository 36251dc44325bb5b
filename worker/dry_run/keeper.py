"""Keeps the process that counts warm while somebody looks at a forecast, and takes requests from the records to it."""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from studio.core.errors import StudioError, Unavailable
from studio.core.models import tokenizer_folder
from studio.core.settings import Settings
from studio.core.stores.measurements import AGAIN_SECONDS, Measurement, MeasurementStore
from worker.watch import end_session

log = logging.getLogger("tunesmith.worker")
LOOK_SECONDS = 2.0
TERM_SECONDS = 1
COUNT = (sys.executable, "-m", "worker", "forecast")


class DryRunKeeper(threading.Thread):
    """Wakes at the bell or every two seconds. The child's parent-death signal follows this thread."""

    def __init__(self, settings: Settings, store: MeasurementStore, environment: Callable[[], dict[str, str]]) -> None:
        """`environment` is that of a child of the worker."""
        super().__init__(name="dry-run-keeper", daemon=True)
        self._settings, self._store, self._environment = settings, store, environment
        self._bell, self._leaving = threading.Event(), threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def wake(self) -> None:
        """Look at the records now."""
        self._bell.set()

    def stop(self) -> None:
        """End the child and the thread."""
        self._leaving.set()
        self._bell.set()
        self._end()
        if self.is_alive():
            self.join(TERM_SECONDS + 2)

    def run(self) -> None:
        """Until `stop`."""
        while not self._leaving.is_set():
            try:
                self.look()
            except Unavailable as busy:
                log.warning("forecast: %s", busy.problem)
            except Exception:  # a door: a forecast is only put off
                log.exception("forecast")
            self._bell.wait(LOOK_SECONDS)
            self._bell.clear()

    def look(self) -> None:
        """Answer what is wanted, the newest first; what was asked long ago is asked again if it is still wanted."""
        for one in self._store.wanted(time.time() - AGAIN_SECONDS):
            if self._leaving.is_set():
                return
            found = self._ask(one)
            if not self._leaving.is_set():
                self._store.done(one.key, found.get("counted"), found.get("problem"))

    def _ask(self, one: Measurement) -> dict[str, Any]:
        """What the child answers, which is started where none runs."""
        try:
            base = one.request["config"]["base"]
            folder = tokenizer_folder(base["repo"], one.request["revision"], self._settings)
        except StudioError as error:
            return {"problem": error.problem}
        return self._talk({**one.request, "folder": str(folder)}) or {"problem": "Counting the memory was cut off."}

    def _talk(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._warm()
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
            found: dict[str, Any] = json.loads(line) if line else {}
            return found
        except (OSError, ValueError):
            self._end()
            return {}

    def _warm(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            with (self._settings.data_dir / "forecast.log").open("ab") as errors:
                self._child = subprocess.Popen(
                    COUNT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self._environment(),
                    start_new_session=True,
                )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.poll() is None:
            end_session(child, TERM_SECONDS)
