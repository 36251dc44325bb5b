"""Claim a run, start its trainer, watch it, write the verdict."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from studio.core.artifacts import Artifacts, new_id, read_json
from studio.core.db import Database
from studio.core.lineage import PARENT_VARIABLE
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, ClaimLost, claim_run
from studio.core.stores.runs import Event, Run, RunStore
from worker import locks
from worker.verdicts import EXIT_CLAIM_LOST, Evidence, Verdict, judge

log = logging.getLogger("tunesmith.worker")
POLL_SECONDS = 0.2
TERM_SECONDS = 10
SHUTDOWN_SECONDS = 5


def child_environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a child of the worker: ours, the same settings, and `more`."""
    set_here = settings.model_dump(mode="json", exclude_none=True)
    ours = {f"TUNESMITH_{name.upper()}": str(value) for name, value in set_here.items()}
    return {**os.environ, **ours, PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1", **more}


class Supervisor:
    """One per data dir. Huey's threads call `dispatch`; the sweep calls `recover`."""

    def __init__(self, settings: Settings, db: Database) -> None:
        """`db` is at the newest schema."""
        self.settings, self.db = settings, db
        self.runs, self.artifacts = RunStore(db), Artifacts(settings.data_dir)
        self.worker_id, self.host = new_id(), socket.gethostname()
        self.leaving = threading.Event()
        self._watched: set[str] = set()

    def dispatch(self) -> None:
        """Work on queued runs, one after the other, as long as the device is free."""
        while not self.leaving.is_set():
            device = locks.take(self.settings.locks_dir / "gpu-0.lock")
            if device is None:
                return
            try:
                run_id = self.runs.next_queued()
                started = run_id is not None and self._start(run_id, device)
            finally:
                os.close(device)  # a kept copy would never free: the trainer has its own
            if run_id is None:
                return
            if started:
                self._finish(run_id, *started)

    def _start(self, run_id: str, device: int) -> tuple[int, subprocess.Popen[bytes]] | None:
        """Claim the run and start its trainer with both locks. None where the run was not to be had."""
        lock = locks.take(self.artifacts.run_lock(run_id))
        if lock is None:
            return None
        try:
            self._watched.add(run_id)
            claim = claim_run(self.db, run_id, {"host": self.host, "worker_id": self.worker_id})
            if claim is None:
                self._watched.discard(run_id)
                return None
            return claim, self._spawn(run_id, claim, (lock, device))
        finally:
            os.close(lock)

    def _spawn(self, run_id: str, claim: int, held: tuple[int, int]) -> subprocess.Popen[bytes]:
        """The trainer as a fresh process in its own session. What an older attempt left is put away first."""
        for leftover in (self.artifacts.result_path(run_id), self.artifacts.failure_path(run_id)):
            leftover.unlink(missing_ok=True)
        with self.artifacts.log_path(run_id).open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "trainer", run_id],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=child_environment(self.settings, TUNESMITH_CLAIM=str(claim)),
                start_new_session=True,
                pass_fds=held,
            )
        try:
            Claimed(self.db, run_id, claim).process(process.pid, psutil.Process(process.pid).create_time())
        except (ClaimLost, psutil.Error):
            log.warning("run %s: its trainer was gone at once", run_id)
        return process

    def _finish(self, run_id: str, claim: int, process: subprocess.Popen[bytes]) -> None:
        """Watch until the end, then judge."""
        try:
            self._watch(run_id, process)
            if process.returncode != EXIT_CLAIM_LOST:
                self.close(self.runs.get(run_id, None), claim, process.returncode)
        finally:
            self._watched.discard(run_id)

    def _watch(self, run_id: str, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of the trainer; end it when the worker leaves or a stop takes too long."""
        deadline: float | None = None
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if self.leaving.is_set():
                end_session(process, SHUTDOWN_SECONDS)
            elif deadline is None:
                if self.runs.get(run_id, None).state == "stopping":
                    deadline = time.monotonic() + self.settings.stop_grace_seconds
            elif time.monotonic() > deadline:
                log.warning("run %s did not stop by itself; it is ended", run_id)
                end_session(process, TERM_SECONDS)

    def close(self, run: Run, claim: int, exit_code: int | None) -> None:
        """Write what became of the attempt `claim`, from the evidence in the run's folder."""
        for _ in range(3):  # a stop may come in between
            verdict = judge(self._evidence(run, claim, exit_code))
            if self._write(run, claim, verdict):
                break
            run = self.runs.get(run.id, None)
        if verdict.state == "interrupted":
            self._requeue(self.runs.get(run.id, None))

    def _write(self, run: Run, claim: int, verdict: Verdict) -> bool:
        log.info("run %s: %s", run.id, verdict.title)
        event = Event(time.time(), verdict.state, verdict.title, verdict.problem or "")
        columns: dict[str, Any] = {"reason": verdict.reason, "problem": verdict.problem, "remedy": verdict.remedy}
        columns |= {"ended_at": time.time(), "result": self._result(run.id, claim)}
        return self.runs.move(run, verdict.state, event, claim=claim, **columns)

    def _requeue(self, run: Run) -> None:
        """An interrupted run goes back to the queue, to begin again from its start."""
        event = Event(time.time(), "queued", "Queued again", run.problem or "")
        cleared = {"ended_at": None, "result": None, "step": 0, "first_step_at": None}
        self.runs.move(run, "queued", event, claim=run.claim, **cleared)

    def _evidence(self, run: Run, claim: int, exit_code: int | None) -> Evidence:
        failure = read_json(self.artifacts.failure_path(run.id))
        result = self._result(run.id, claim)
        return Evidence(run.state, run.attempts, exit_code, result, failure, self.leaving.is_set())

    def _result(self, run_id: str, claim: int) -> dict[str, Any] | None:
        result = read_json(self.artifacts.result_path(run_id))
        return result if result is not None and result.get("claim") == claim else None

    def recover(self) -> None:
        """Judge every live run that nobody works on: its lock is free and none of our threads watches it."""
        for run in self.runs.live():
            if run.id not in self._watched and locks.is_free(self.artifacts.run_lock(run.id)):
                self.close(run, run.claim, None)
        for run in self.runs.interrupted():
            if run.id not in self._watched:
                self._requeue(run)


def end_session(process: subprocess.Popen[bytes], seconds: float) -> None:
    """SIGTERM to the child, then SIGKILL to its whole session when it takes longer than `seconds`."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def lock_of_supervisor(settings: Settings) -> Path:
    """The lock that says a worker serves this data dir."""
    return settings.locks_dir / "supervisor.lock"
