"""Claim a run, start its trainer, judge its end, and take up what a dead worker left."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from studio.core import disk, locks
from studio.core.artifacts import Artifacts, new_id, read_json
from studio.core.db import Database
from studio.core.errors import Unavailable
from studio.core.failpoints import failpoint
from studio.core.lineage import PARENT_VARIABLE, kill_session
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, ClaimLost, claim_run
from studio.core.stores.line import LineStore
from studio.core.stores.runs import Event, Run, RunStore
from worker import cgroup
from worker.spare import SpareKeeper
from worker.verdicts import EXIT_CLAIM_LOST, Ended, Evidence, Verdict, judge
from worker.watch import Trainer, watch

log = logging.getLogger("tunesmith.worker")
ORPHAN_SECONDS = 10
AGAIN_SECONDS = 1.0
# A trainer asks for the same large tensors in every step; by default glibc gives each back to the system when it is
# freed, and the system clears its pages again the next time. Chosen on single runs with the starter model on a busy
# machine (Xeon with AMX): 25 s of the processor instead of 31, a peak of 1,490 MB instead of 1,650. To be measured on
# idle cores by `tests.bench.training`.
ALLOCATOR = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=67108864"
    ":glibc.malloc.mxfast=0:glibc.malloc.tcache_count=0"
)
# torch's library for processors makes kernels for each shape it meets and keeps 1,024 of them: ragged examples filled
# 650 MB with them in 20 steps. A micro-batch's own are about 60.
KERNELS = "64"
TRAINER = {"GLIBC_TUNABLES": ALLOCATOR, "ONEDNN_PRIMITIVE_CACHE_CAPACITY": KERNELS}


def child_environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a child of the worker: ours, the same settings, and `more`."""
    set_here = settings.model_dump(mode="json", exclude_none=True)
    ours = {f"TUNESMITH_{name.upper()}": str(value) for name, value in set_here.items()}
    return {**os.environ, **ours, PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1", **more}


def trainer_environment(settings: Settings, **more: str) -> dict[str, str]:
    """As `child_environment`, for a trainer: freed memory is kept for the next step. What is set outside stands."""
    return {**TRAINER, **child_environment(settings, **more)}


class Supervisor:
    """One per data dir. Huey's threads call `dispatch`; the sweep calls `recover`."""

    trainer = (sys.executable, "-m", "worker", "trainer")  # the chaos tests put a faster one in its place

    spares: SpareKeeper | None = None  # the worker puts its own in place

    def __init__(self, settings: Settings, db: Database, leaving: threading.Event) -> None:
        """`db` is at the newest schema; `leaving` is set when the worker ends."""
        self.settings, self.db, self.leaving = settings, db, leaving
        self.runs, self.line, self.artifacts = RunStore(db), LineStore(db), Artifacts(settings.data_dir)
        self.worker_id, self.host = new_id(), socket.gethostname()
        self._watched: set[str] = set()
        self._orphans: dict[tuple[str, int], float] = {}

    def next_run(self) -> str | None:
        """The run that could start now; None where none waits, or the disk is too full for any."""
        return self.line.next() if disk.has_room(self.settings) else None

    def has_time_for_spare(self) -> bool:
        """Whether a spare trainer may be started without slowing a run's start.

        So it is where no run is at work or about to be, and where one is past its first step while another waits.
        """
        at_work = [self.runs.get(run_id, None) for run_id in tuple(self._watched)]
        waits = self.next_run() is not None
        return waits and all(run.first_step_at for run in at_work) if at_work else not waits

    def dispatch(self) -> None:
        """Work on queued runs, one after the other, as long as the device is free."""
        while not self.leaving.is_set() and (run_id := self.next_run()):
            device = locks.hold(self.settings.locks_dir / "gpu-0.lock")
            if device is None:
                return
            try:
                started = self._start(run_id, device)
            finally:
                os.close(device)  # a kept copy would never free: the trainer has its own
            if started is None:
                return  # the sweep rings again
            self._finish(run_id, *started)

    def _start(self, run_id: str, device: int) -> tuple[int, Trainer] | None:
        """Claim the run and start its trainer with both locks. None where the run was not to be had."""
        lock = locks.hold(self.artifacts.run_lock(run_id))
        if lock is None:
            return None
        failpoint("supervisor.locked", run=run_id)
        try:
            self._watched.add(run_id)
            claim = claim_run(self.db, run_id, {"host": self.host, "worker_id": self.worker_id})
            if claim is not None:
                return claim, self._spawn(run_id, claim, (lock, device))
            self._watched.discard(run_id)
            return None
        except BaseException:
            self._watched.discard(run_id)
            raise
        finally:
            os.close(lock)

    def _spawn(self, run_id: str, claim: int, held: tuple[int, int]) -> Trainer:
        """The trainer in its own session: the spare where there is one, else a fresh process."""
        before = cgroup.oom_kills()
        with self.artifacts.log_path(run_id).open("ab") as out:
            spare = self.spares.hand_over(run_id, claim, (*held, out.fileno())) if self.spares else None
            process, line = spare or self._fresh(run_id, claim, held, out.fileno())
        trainer = Trainer(process, line, before)
        failpoint("supervisor.spawned", run=run_id, claim=claim, trainer=process.pid)
        try:
            Claimed(self.db, run_id, claim).process(process.pid, trainer.started or 0.0)
        except ClaimLost:
            log.warning("run %s: its claim was gone at once", run_id)
        return trainer

    def _fresh(
        self, run_id: str, claim: int, held: tuple[int, int], out: int
    ) -> tuple["subprocess.Popen[bytes]", socket.socket]:
        """A process and our end of its lifeline."""
        ours, its = socket.socketpair()
        ours.setblocking(False)
        with its:
            process = subprocess.Popen(
                [*self.trainer, run_id],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=trainer_environment(
                    self.settings, TUNESMITH_CLAIM=str(claim), TUNESMITH_LIFELINE=str(its.fileno())
                ),
                start_new_session=True,
                pass_fds=(*held, its.fileno()),
            )
        return process, ours

    def _finish(self, run_id: str, claim: int, trainer: Trainer) -> None:
        """Watch until the end, then judge."""
        try:
            ended = watch(trainer, lambda: self.runs.get(run_id, None), self.leaving.is_set, self.settings)
            trainer.release(self.artifacts.run_lock(run_id))
            failpoint("supervisor.ended", run=run_id, claim=claim)
            if trainer.process.returncode != EXIT_CLAIM_LOST:
                self._close_patiently(run_id, claim, trainer, ended)
        finally:
            trainer.lifeline.close()
            self._watched.discard(run_id)

    def _close_patiently(self, run_id: str, claim: int, trainer: Trainer, ended: Ended | None) -> None:
        """Write the verdict, as often as it takes: only this thread has seen how the trainer ended.

        On a full disk the sweep gives the ballast up meanwhile. A worker that leaves lets the next one judge.
        """
        while True:
            try:
                return self.close(self.runs.get(run_id, None), claim, trainer, ended)
            except Unavailable as error:
                if self.leaving.wait(AGAIN_SECONDS):
                    raise
                log.warning("run %s: its end could not be written: %s", run_id, error.problem)

    def close(self, run: Run, claim: int, trainer: Trainer | None, ended: Ended | None = None) -> None:
        """Write what became of the attempt `claim`, from the evidence in the run's folder."""
        for _ in range(3):  # a stop may come in between
            verdict = judge(self._evidence(run, claim, trainer, ended))
            if self._write(run, claim, verdict):
                break
            run = self.runs.get(run.id, None)
        if verdict.state == "interrupted":
            failpoint("supervisor.interrupted", run=run.id, claim=claim)
            self._requeue(self.runs.get(run.id, None))

    def _write(self, run: Run, claim: int, verdict: Verdict) -> bool:
        log.info("run %s: %s", run.id, verdict.title)
        now = time.time()
        event = Event(now, verdict.state, verdict.title, verdict.problem or "")
        columns: dict[str, Any] = {"reason": verdict.reason, "problem": verdict.problem, "remedy": verdict.remedy}
        columns |= {"ended_at": now, "result": _of_claim(self.artifacts.result_path(run.id), claim)}
        if verdict.state == "interrupted":
            columns["not_before"] = now + verdict.pause if verdict.pause else None
            if not verdict.counts:
                columns["attempts"] = max(0, run.attempts - 1)
            else:
                columns["fruitless"] = 0 if _got_on(run) else run.fruitless + 1
        return self.runs.move(run, verdict.state, event, claim=claim, **columns)

    def _requeue(self, run: Run) -> None:
        """An interrupted run goes back to the queue, to go on from its newest checkpoint."""
        step = f"It goes on from step {run.checkpoint_step:,}." if run.checkpoint_step else "It begins again."
        event = Event(time.time(), "queued", "Queued again", step)
        self.runs.move(run, "queued", event, claim=run.claim, ended_at=None, result=None, first_step_at=None)

    def _evidence(self, run: Run, claim: int, trainer: Trainer | None, ended: Ended | None) -> Evidence:
        kills = cgroup.oom_kills()
        before = trainer.oom_kills if trainer else None
        return Evidence(
            state=run.state,
            attempts=run.attempts,
            exit_code=trainer.process.returncode if trainer else None,
            result=_of_claim(self.artifacts.result_path(run.id), claim),
            failure=_of_claim(self.artifacts.failure_path(run.id), claim),
            shutting_down=self.leaving.is_set(),
            fruitless=run.fruitless,
            progress=_got_on(run),
            checkpoint_step=run.checkpoint_step,
            ended=ended,
            oom_kills=0 if kills is None or before is None else kills - before,
        )

    def recover(self) -> None:
        """Judge every live run that nobody works on, and end trainers that outlived their worker."""
        for run in self.runs.live():
            if run.id in self._watched:
                continue
            if not locks.is_held(self.artifacts.run_lock(run.id)):
                self._orphans.pop((run.id, run.claim), None)
                self.close(run, run.claim, None)
            else:
                self._end_orphan(run)
        for run in self.runs.interrupted():
            if run.id not in self._watched:
                self._requeue(run)

    def _end_orphan(self, run: Run) -> None:
        """A trainer without its worker: it ends by itself in a moment, or is ended, by pid and start time."""
        first = self._orphans.setdefault((run.id, run.claim), time.monotonic())
        if time.monotonic() - first < ORPHAN_SECONDS or run.pid is None or run.host != self.host:
            return
        log.warning("run %s: its trainer outlived its worker and is ended", run.id)
        if not kill_session(run.pid, run.pid_started):
            log.warning("run %s: process %d is another one by now", run.id, run.pid)


def _of_claim(path: Path, claim: int) -> dict[str, Any] | None:
    """What the attempt `claim` left in a file; None where there is none, or an older attempt's."""
    found: dict[str, Any] | None = read_json(path)
    return found if found is not None and found.get("claim") == claim else None


def _got_on(run: Run) -> bool:
    """Whether this attempt left a checkpoint beyond the one that it began from."""
    return run.checkpoint_step > run.resume_step


def lock_of_supervisor(settings: Settings) -> Path:
    """The lock that says a worker serves this data dir."""
    return settings.locks_dir / "supervisor.lock"
