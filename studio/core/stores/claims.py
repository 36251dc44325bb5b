"""What the holder of a claim may write. Every write names the claim; a row that carries another raises `ClaimLost`."""

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from studio.core.db import Database
from studio.core.errors import Conflict
from studio.core.states import KEEP_BEST, MOVES, State
from studio.core.stores.runs import Event, add_event
from studio.core.stores.series import Sample
from studio.core.tables import metrics, run_events, runs, samples


class ClaimLost(Conflict):
    """Another attempt owns the run, or it has ended: the writer leaves at once."""


class StopWanted(ClaimLost):
    """The person asked to stop in the meantime: the writer finishes what it must and leaves."""


def claim_run(db: Database, run_id: str, worker: dict[str, Any]) -> int | None:
    """Take a queued run: state `starting`, claim and attempts risen by one. None where somebody was quicker.

    `worker` holds `host` and `worker_id`. The caller holds the device lock and the run lock.
    """
    query = (
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == "queued", runs.c.held.is_(False), runs.c.deleted_at.is_(None))
        .values(
            state="starting",
            claim=runs.c.claim + 1,
            attempts=runs.c.attempts + 1,
            started_at=time.time(),
            not_before=None,
            reason=None,
            problem=None,
            remedy=None,
            pid=None,
            pid_started=None,
            **worker,
        )
        .returning(runs.c.claim)
    )
    with db.write("claim", run=run_id) as connection:
        claim = connection.execute(query).scalar_one_or_none()
        if claim is not None:
            add_event(connection, run_id, claim, Event(time.time(), "starting", "Started", ""))
    return claim


class Claimed:
    """One attempt's pen."""

    def __init__(self, db: Database, run_id: str, claim: int) -> None:
        """`claim` is the number that `claim_run` gave."""
        self._db, self._run_id, self._claim = db, run_id, claim

    def _write(self, name: str, **facts: Any) -> AbstractContextManager[Connection]:
        return self._db.write(f"attempt.{name}", run=self._run_id, claim=self._claim, **facts)

    def _update(self, connection: Connection, sources: Iterable[State] | None = None, **columns: Any) -> None:
        query = update(runs).where(runs.c.id == self._run_id, runs.c.claim == self._claim)
        if sources is not None:
            query = query.where(runs.c.state.in_(tuple(sources)))
        if connection.execute(query.values(**columns)).rowcount != 1:
            raise ClaimLost("This attempt no longer owns the run.")

    def move(self, to: State, title: str, detail: str = "", **columns: Any) -> None:
        """Change the state, with its event. Raises `StopWanted` in `stopping`, `ClaimLost` where another owns it."""
        if self.stop_wanted():
            raise StopWanted("The run is stopping.")
        with self._write("move", to=to) as connection:
            self._update(connection, (old for old, news in MOVES.items() if to in news), state=to, **columns)
            add_event(connection, self._run_id, self._claim, Event(time.time(), to, title, detail))

    def event(self, kind: str, title: str, detail: str = "") -> None:
        """Append to the timeline."""
        with self._write("event") as connection:
            self._check(connection)
            add_event(connection, self._run_id, self._claim, Event(time.time(), kind, title, detail))

    def alarm(self, kind: str, title: str, detail: str = "") -> None:
        """Append to the timeline what is said once of a run, however many attempts it takes."""
        kind = f"alarm:{kind}"
        known = select(run_events.c.id).where(run_events.c.run_id == self._run_id, run_events.c.kind == kind)
        with self._write("alarm") as connection:
            self._check(connection)
            if connection.execute(known.limit(1)).first() is None:
                add_event(connection, self._run_id, self._claim, Event(time.time(), kind, title, detail))

    def samples(self, step: int, answers: list[Sample]) -> None:
        """What the model of `step` answers (0: the base model); a step written again is replaced."""
        with self._write("samples", step=step) as connection:
            owner = self._check(connection)
            same = {"run_id": self._run_id, "step": step, "claim": self._claim, "owner": owner}
            rows = [{**same, "number": number, **asdict(one)} for number, one in enumerate(answers)]
            query = insert(samples)
            replace = {name: query.excluded[name] for name in ("claim", "asked", "reference", "answer")}
            connection.execute(
                query.on_conflict_do_update(index_elements=["run_id", "step", "number"], set_=replace), rows
            )

    def metrics(self, points: list[tuple[int, str, float]]) -> None:
        """Add `(step, name, value)` points in one transaction; a step written again is replaced."""
        if not points:
            return
        with self._write("metrics") as connection:
            owner = self._check(connection)
            rows = [
                {"run_id": self._run_id, "name": n, "step": s, "claim": self._claim, "owner": owner, "value": v}
                for s, n, v in points
            ]
            query = insert(metrics)
            replace = {"value": query.excluded.value, "claim": query.excluded.claim}
            connection.execute(
                query.on_conflict_do_update(index_elements=["run_id", "name", "step"], set_=replace), rows
            )

    def progress(self, step: int, steps: int) -> None:
        """Where the run is; the first step's time is kept."""
        with self._write("progress", step=step) as connection:
            self._update(connection, step=step, steps=steps)
            first = update(runs).where(runs.c.id == self._run_id, runs.c.first_step_at.is_(None))
            if step > 0:
                connection.execute(first.values(first_step_at=time.time()))

    def resumed(self, step: int) -> None:
        """The attempt begins after `step`: what an older one measured beyond it is superseded."""
        with self._write("resumed", step=step) as connection:
            self._update(connection, resume_step=step, step=step, checkpoint_step=step)
            for table in (metrics, samples):
                connection.execute(delete(table).where(table.c.run_id == self._run_id, table.c.step > step))
            if step:
                event = Event(time.time(), "note", f"Goes on from step {step:,}", "From its newest checkpoint")
                add_event(connection, self._run_id, self._claim, event)

    def checkpoint(self, step: int) -> None:
        """A checkpoint of `step` is sealed."""
        with self._write("checkpoint", step=step) as connection:
            self._update(connection, checkpoint_step=step, checkpoint_at=time.time())

    def spec(self, spec: dict[str, Any]) -> None:
        """What the attempt runs with: versions, hashes, dtype, threads, seed."""
        with self._write("spec") as connection:
            self._update(connection, spec=spec)

    def process(self, pid: int, pid_started: float) -> None:
        """Which process works on the run, by pid and start time."""
        with self._write("process") as connection:
            self._update(connection, pid=pid, pid_started=pid_started)

    def stop_wanted(self) -> bool:
        """Whether the person asked to stop."""
        return self._now()[0] == "stopping"

    def best_wanted(self) -> bool:
        """Whether the person asked to stop and to keep the best check's weights."""
        return self._now() == ("stopping", KEEP_BEST)

    def _now(self) -> tuple[str, str | None]:
        """State and reason of the row. Raises `ClaimLost` where it carries another claim."""
        query = select(runs.c.state, runs.c.reason).where(runs.c.id == self._run_id, runs.c.claim == self._claim)
        with self._db.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise ClaimLost("This attempt no longer owns the run.")
        return row.state, row.reason

    def _check(self, connection: Connection) -> str:
        """The owner, where the row still carries the claim."""
        query = select(runs.c.owner).where(runs.c.id == self._run_id, runs.c.claim == self._claim)
        owner = connection.execute(query).scalar_one_or_none()
        if owner is None:
            raise ClaimLost("This attempt no longer owns the run.")
        return str(owner)
