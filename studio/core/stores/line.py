"""The line of waiting runs: whose turn it is, and what people change of it. It stands in the rows."""

import time
from typing import Any

from sqlalchemy import exists, func, or_, select
from sqlalchemy.dialects.sqlite import insert

from studio.core.db import Database
from studio.core.states import ENDED, LIVE
from studio.core.stores.runs import Event, add_event
from studio.core.stores.users import LOCAL_USER
from studio.core.tables import queues, runs

QUEUE = "runs"
WAITING = ("queued", "interrupted")


class LineStore:
    """One queue for all people: fair between them, in each person's own order."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def next(self, now: float | None = None) -> str | None:
        """The run whose turn it is; None where none may start now.

        The person with the fewest runs at work comes first, then the earlier place. Held runs, runs whose pause after
        a failure is not over, and runs that come after another one wait; while the queue is paused all do.
        """
        others, before = runs.alias(), runs.alias()
        at_work = (
            select(func.count())
            .where(others.c.owner == runs.c.owner, others.c.state.in_(tuple(LIVE)))
            .scalar_subquery()
        )
        goes_on = (
            before.c.id == runs.c.after_run_id,
            before.c.state.not_in(tuple(ENDED)),
            before.c.deleted_at.is_(None),
        )
        query = select(runs.c.id).where(
            runs.c.state == "queued",
            runs.c.held.is_(False),
            runs.c.deleted_at.is_(None),
            or_(runs.c.not_before.is_(None), runs.c.not_before <= (time.time() if now is None else now)),
            ~exists().where(*goes_on),
            ~exists().where(queues.c.name == QUEUE, queues.c.paused_at.is_not(None)),
        )
        with self._db.read() as connection:
            return connection.execute(query.order_by(at_work, runs.c.position).limit(1)).scalar_one_or_none()

    def paused_at(self) -> float | None:
        """Since when nothing new starts; None where the queue is open."""
        with self._db.read() as connection:
            query = select(queues.c.paused_at).where(queues.c.name == QUEUE)
            return connection.execute(query).scalar_one_or_none()

    def pause(self, paused: bool) -> None:
        """Close or open the queue; what runs goes on."""
        row: dict[str, Any] = {"paused_at": time.time() if paused else None}
        with self._db.write("line.pause", paused=paused) as connection:
            query = insert(queues).values(name=QUEUE, owner=LOCAL_USER, **row)
            connection.execute(query.on_conflict_do_update(index_elements=["name"], set_=row))

    def hold(self, run_id: str, owner: str, held: bool) -> bool:
        """Keep a waiting run from starting, or let it. False where it does not wait."""
        query = runs.update().where(runs.c.id == run_id, runs.c.owner == owner, runs.c.deleted_at.is_(None))
        query = query.where(runs.c.state.in_(WAITING), runs.c.held.is_(not held))
        with self._db.write("line.hold", run=run_id, held=held) as connection:
            changed = connection.execute(query.values(held=held)).rowcount == 1
            if changed:
                title = "Held back" if held else "Released"
                add_event(connection, run_id, None, Event(time.time(), "note", title, ""))
        return changed

    def move(self, run_id: str, owner: str, by: int) -> bool:
        """Change places with the person's own run `by` places on (-1: earlier). False where there is none."""
        query = select(runs.c.id, runs.c.position).where(
            runs.c.owner == owner, runs.c.state.in_(WAITING), runs.c.deleted_at.is_(None)
        )
        with self._db.write("line.move", run=run_id, by=by) as connection:
            line = connection.execute(query.order_by(runs.c.position)).all()
            place = next((i for i, row in enumerate(line) if row.id == run_id), None)
            if place is None or not 0 <= place + by < len(line):
                return False
            own, other = line[place], line[place + by]
            for row, position in ((own, other.position), (other, own.position)):
                connection.execute(runs.update().where(runs.c.id == row.id).values(position=position))
        return True


class TombstoneStore:
    """Deletion in two steps: the row says so first, then the files go; a kill in between is finished later."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def bury(self, run_id: str, owner: str) -> bool:
        """Mark an ended run as deleted: nobody sees it any more. False where it has not ended or is not there."""
        query = runs.update().where(
            runs.c.id == run_id, runs.c.owner == owner, runs.c.deleted_at.is_(None), runs.c.state.in_(tuple(ENDED))
        )
        with self._db.write("delete.tombstone", run=run_id) as connection:
            return connection.execute(query.values(deleted_at=time.time())).rowcount == 1

    def unfinished(self) -> list[str]:
        """Deleted runs whose files are still there."""
        query = select(runs.c.id).where(runs.c.deleted_at.is_not(None), runs.c.files_removed_at.is_(None))
        with self._db.read() as connection:
            return list(connection.execute(query).scalars())

    def removed(self, run_id: str) -> None:
        """The files are gone."""
        with self._db.write("delete.finished", run=run_id) as connection:
            connection.execute(runs.update().where(runs.c.id == run_id).values(files_removed_at=time.time()))

    def with_files(self) -> set[str]:
        """The ids of all runs that may have a folder: deleted ones only until their files were removed."""
        with self._db.read() as connection:
            return set(connection.execute(select(runs.c.id).where(runs.c.files_removed_at.is_(None))).scalars())
