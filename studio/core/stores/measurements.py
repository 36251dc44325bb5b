"""What dry runs counted: the web process wants a row, the worker fills it in."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from studio.core.db import Database
from studio.core.stores.users import LOCAL_USER
from studio.core.tables import measurements

AGAIN_SECONDS = 60.0
"""A request that failed, or that nobody answered, is asked again after this time."""


@dataclass(frozen=True)
class Measurement:
    """One dry run, wanted or done. `request` says what to run; `counted` is its result, `problem` why there is none."""

    key: str
    request: dict[str, Any]
    wanted_at: float
    counted: dict[str, Any] | None
    problem: str | None
    counted_at: float | None


class MeasurementStore:
    """Rows of `measurements`. They hold nothing of a person's: shapes of models, and bytes."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def get(self, key: str) -> Measurement | None:
        """The row, wanted or done."""
        with self._db.read() as connection:
            row = connection.execute(_columns().where(measurements.c.key == key)).first()
        return Measurement(*row) if row else None

    def want(self, key: str, request: dict[str, Any]) -> bool:
        """Ask for a dry run; False where it was asked for a moment ago or is there."""
        found, now = self.get(key), time.time()
        if found is not None and (found.counted is not None or now - found.wanted_at < AGAIN_SECONDS):
            return False
        row: dict[str, Any] = {"request": request, "wanted_at": now, "problem": None, "counted_at": None}
        with self._db.write("measurement.want", key=key) as connection:
            query = insert(measurements).values(key=key, owner=LOCAL_USER, **row)
            connection.execute(query.on_conflict_do_update(index_elements=["key"], set_=row))
        return True

    def wanted(self, since: float) -> list[Measurement]:
        """What was asked for after `since` and is not there, the newest first: somebody looks at it now."""
        query = _columns().where(measurements.c.counted.is_(None), measurements.c.problem.is_(None))
        with self._db.read() as connection:
            rows = connection.execute(
                query.where(measurements.c.wanted_at > since).order_by(measurements.c.wanted_at.desc())
            )
            return [Measurement(*row) for row in rows]

    def done(self, key: str, counted: dict[str, Any] | None, problem: str | None = None) -> None:
        """The worker says what came of it."""
        row = {"counted": counted, "problem": problem, "counted_at": time.time()}
        with self._db.write("measurement.done", key=key) as connection:
            connection.execute(measurements.update().where(measurements.c.key == key).values(**row))


def _columns() -> Any:
    return select(*(measurements.c[name] for name in Measurement.__dataclass_fields__))
