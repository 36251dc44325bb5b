"""Runs and their events. The row is the queue, the outbox and the truth."""

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, Connection, RowMapping, func, null, select
from sqlalchemy.exc import IntegrityError

from studio.core.artifacts import new_id
from studio.core.db import Database
from studio.core.errors import Conflict, NotFound
from studio.core.states import LIVE, MOVES, State
from studio.core.tables import dataset_versions, datasets, run_events, runs


@dataclass(frozen=True)
class NewRun:
    """What `submit` hands over: checked, complete."""

    owner: str
    name: str
    config: dict[str, Any]
    base_repo: str
    base_revision: str
    dataset_version_id: str
    idempotency_key: str | None = None
    after_run_id: str | None = None
    expected_seconds: float | None = None
    forecast: dict[str, Any] | None = None
    method: str = "sft"
    id: str = field(default_factory=new_id)


@dataclass(frozen=True)
class Run:
    """One accepted request to fine-tune. Times are UTC seconds; `spec` and `result` come from the trainer."""

    id: str
    owner: str
    name: str
    kind: str
    method: str
    task: str
    state: State
    reason: str | None
    problem: str | None
    remedy: str | None
    config: dict[str, Any]
    spec: dict[str, Any] | None
    result: dict[str, Any] | None
    base_repo: str
    base_revision: str
    dataset_version_id: str
    dataset_id: str
    dataset_name: str
    position: int
    held: bool
    claim: int
    attempts: int
    host: str | None
    worker_id: str | None
    pid: int | None
    pid_started: float | None
    step: int
    steps: int
    created_at: float
    started_at: float | None
    first_step_at: float | None
    ended_at: float | None
    resume_step: int
    checkpoint_step: int
    checkpoint_at: float | None
    fruitless: int
    after_run_id: str | None
    not_before: float | None
    expected_seconds: float | None
    forecast: dict[str, Any] | None

    @property
    def is_live(self) -> bool:
        """Whether a trainer works on it now."""
        return self.state in LIVE


@dataclass(frozen=True)
class Event:
    """One thing that happened to a run, for its timeline. `kind` is a state or `note`, `warning`, `eval`."""

    at: float
    kind: str
    title: str
    detail: str


class RunStore:
    """What pages, use cases and the worker ask of runs. Reads are filtered by owner here, in one place."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def add(self, new: NewRun) -> Run:
        """A queued run at the end of the line. The same idempotency key again gives the first run back."""
        try:
            with self._db.write("submit", run=new.id, key=new.idempotency_key) as connection:
                place = connection.execute(select(func.coalesce(func.max(runs.c.position), 0))).scalar_one() + 1
                values = {**new.__dict__, "state": "queued", "position": place, "created_at": time.time()}
                connection.execute(runs.insert().values(values))
                add_event(connection, new.id, 0, Event(time.time(), "queued", "Queued", ""))
        except IntegrityError as error:
            first = self._by_key(new.owner, new.idempotency_key)
            if first is None:
                raise Conflict("The dataset is gone.", "Choose another one.") from error
            return first
        return self.get(new.id, new.owner)

    def _by_key(self, owner: str, key: str | None) -> Run | None:
        query = select_runs().where(runs.c.owner == owner, runs.c.idempotency_key == key)
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        return to_run(row) if row and key else None

    def get(self, run_id: str, owner: str | None) -> Run:
        """The run; `owner=None` is the worker, who sees all. Raises `NotFound`, also for another person's run."""
        query = select_runs().where(runs.c.id == run_id, runs.c.deleted_at.is_(None))
        if owner is not None:
            query = query.where(runs.c.owner == owner)
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound("There is no such run.", "Look in the list of runs.")
        return to_run(row)

    def of(self, owner: str, limit: int = 200) -> list[Run]:
        """A person's runs: what goes first, then the queue in its order, then what ended, newest first.

        They come without `spec` and without the long parts of `result` (answers, prompts, files): a page lists many.
        """
        ended = runs.c.state.in_(("succeeded", "stopped", "failed"))
        order = (
            ended,
            runs.c.state.in_(("queued", "interrupted")),
            -func.coalesce(runs.c.ended_at, 0),
            runs.c.position,
        )
        query = select_runs(whole=False).where(runs.c.owner == owner, runs.c.deleted_at.is_(None))
        query = query.order_by(*order).limit(limit)
        with self._db.read() as connection:
            return [to_run(row) for row in connection.execute(query).mappings()]

    def live(self) -> list[Run]:
        """All runs that a trainer works on, or should: the worker's view."""
        query = select_runs().where(runs.c.state.in_(tuple(LIVE)))
        with self._db.read() as connection:
            return [to_run(row) for row in connection.execute(query).mappings()]

    def interrupted(self) -> list[Run]:
        """All runs that go back to the queue by themselves."""
        with self._db.read() as connection:
            rows = connection.execute(select_runs().where(runs.c.state == "interrupted")).mappings()
            return [to_run(row) for row in rows]

    def events(self, run_id: str, owner: str, limit: int = 100) -> list[Event]:
        """What happened, newest first."""
        columns = (run_events.c.at, run_events.c.kind, run_events.c.title, run_events.c.detail)
        query = select(*columns).where(run_events.c.run_id == run_id, run_events.c.owner == owner)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(run_events.c.id.desc()).limit(limit))
            return [Event(*row) for row in rows]

    def move(self, run: Run, to: State, event: Event, *, claim: int | None = None, **columns: Any) -> bool:
        """Compare-and-set of the state as seen in `run`, with its event, in one transaction. False where it moved on.

        `claim` fences: with it, only a row that still carries it is changed.
        """
        if to not in MOVES[run.state]:
            return False
        query = runs.update().where(runs.c.id == run.id, runs.c.state == run.state)
        if claim is not None:
            query = query.where(runs.c.claim == claim)
        with self._db.write("run.move", run=run.id, to=to, claim=claim) as connection:
            changed = connection.execute(query.values(state=to, **columns)).rowcount == 1
            if changed:
                add_event(connection, run.id, claim, event)
        return changed


def add_event(connection: Connection, run_id: str, claim: int | None, event: Event) -> None:
    """Append to the timeline inside the caller's transaction; owner and claim come from the run's row."""
    row = connection.execute(select(runs.c.owner, runs.c.claim).where(runs.c.id == run_id)).one()
    values = {"run_id": run_id, "owner": row.owner, "claim": row.claim if claim is None else claim, **event.__dict__}
    connection.execute(run_events.insert().values(values))


def select_runs(whole: bool = True) -> Any:
    """Runs with the name of their dataset; without their long parts where not `whole`."""
    joined = runs.join(dataset_versions, runs.c.dataset_version_id == dataset_versions.c.id).join(
        datasets, dataset_versions.c.dataset_id == datasets.c.id
    )
    named = datasets.c.id.label("dataset_id"), datasets.c.name.label("dataset_name")
    if whole:
        return select(runs, *named).select_from(joined)
    short = func.json_remove(runs.c.result, "$.answers", "$.prompts", "$.files", type_=JSON).label("result")
    kept = [column for column in runs.c if column.name not in ("spec", "result")]
    return select(*kept, null().label("spec"), short, *named).select_from(joined)


def to_run(row: RowMapping) -> Run:
    """A row of `select_runs` as a value."""
    return Run(**{name: row[name] for name in Run.__dataclass_fields__})
