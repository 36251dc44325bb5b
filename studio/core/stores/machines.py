"""The machine that a worker runs on, and what is asked of its playground process."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from studio.core.db import Database
from studio.core.stores.users import LOCAL_USER
from studio.core.tables import engines, machines

SEEN_SECONDS = 12
FINISH_SECONDS = 60.0
"""So long those who are being answered by one base model may hold up who asks for another."""
LOAD_SECONDS = 300.0
"""A base model that is not there by then never will be."""


@dataclass(frozen=True)
class Machine:
    """What a worker found out about its host. `facts` holds cores, memory, devices and `matmul` in GFLOP/s by dtype."""

    host: str
    worker_id: str
    facts: dict[str, Any]
    seen_at: float

    @property
    def is_here(self) -> bool:
        """Whether its worker was seen a moment ago."""
        return time.time() - self.seen_at < SEEN_SECONDS


@dataclass(frozen=True)
class EngineRow:
    """What is wanted of the playground's process, and what is there. Ready: `ready_*` equals `wanted_*`."""

    host: str
    wanted_repo: str
    wanted_revision: str
    wanted_at: float
    ready_repo: str | None
    ready_revision: str | None
    socket: str | None
    pid: int | None
    problem: str | None
    remedy: str | None
    updated_at: float | None

    @property
    def is_ready(self) -> bool:
        """Whether the wanted base model can be asked now."""
        return self.socket is not None and (self.ready_repo, self.ready_revision) == (
            self.wanted_repo,
            self.wanted_revision,
        )

    @property
    def comes(self) -> bool:
        """Whether the wanted base model is on its way: asked for, not there yet, and nothing went wrong."""
        most = FINISH_SECONDS + LOAD_SECONDS
        return not self.is_ready and not self.problem and time.time() - self.wanted_at < most


class MachineStore:
    """Rows of `machines` and `engines`: one host for now."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def report(self, host: str, worker_id: str, facts: dict[str, Any]) -> None:
        """The worker says what it found; the row of the host is replaced."""
        row = {"host": host, "owner": LOCAL_USER, "worker_id": worker_id, "facts": facts, "seen_at": time.time()}
        with self._db.write("machine.report") as connection:
            query = insert(machines).values(row)
            connection.execute(query.on_conflict_do_update(index_elements=["host"], set_=row))

    def seen(self, host: str) -> None:
        """The worker is still there."""
        with self._db.write("machine.seen") as connection:
            connection.execute(machines.update().where(machines.c.host == host).values(seen_at=time.time()))

    def gone(self, host: str) -> None:
        """The worker leaves in order."""
        with self._db.write("machine.gone") as connection:
            connection.execute(machines.update().where(machines.c.host == host).values(seen_at=0.0))

    def newest(self) -> Machine | None:
        """The machine whose worker was seen last."""
        columns = [machines.c[name] for name in Machine.__dataclass_fields__]
        query = select(*columns).order_by(machines.c.seen_at.desc()).limit(1)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return Machine(*row) if row else None

    def want_engine(self, host: str, repo: str, revision: str) -> None:
        """Ask for the playground's process with this base model; an older problem is forgotten."""
        row: dict[str, Any] = {"wanted_repo": repo, "wanted_revision": revision, "wanted_at": time.time()}
        row |= {"problem": None, "remedy": None}
        with self._db.write("engine.want") as connection:
            query = insert(engines).values(host=host, owner=LOCAL_USER, **row)
            connection.execute(query.on_conflict_do_update(index_elements=["host"], set_=row))

    def engine(self, host: str) -> EngineRow | None:
        """What is wanted and there; None where nobody asked yet."""
        columns = [engines.c[name] for name in EngineRow.__dataclass_fields__]
        with self._db.read() as connection:
            row = connection.execute(select(*columns).where(engines.c.host == host)).first()
        return EngineRow(*row) if row else None

    def engine_is(self, host: str, **columns: Any) -> None:
        """The worker says what became of the process: `ready_repo`, `socket`, `pid`, `problem`, ..."""
        with self._db.write("engine.is") as connection:
            query = engines.update().where(engines.c.host == host)
            connection.execute(query.values(**columns, updated_at=time.time()))
