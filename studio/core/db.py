"""The records database: SQLite, opened so that concurrent writers lose nothing.

SQLAlchemy's default on SQLite loses read-modify-writes without an error: writes here begin with `BEGIN IMMEDIATE`,
reads with a plain `BEGIN`. Versions 3.7.0 to 3.51.2 can corrupt a WAL, so an unsafe one journals with TRUNCATE.
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from studio.core.errors import DiskFull, Unavailable
from studio.core.failpoints import failpoint

BUSY_SECONDS = 20
SAFE_WAL = (3, 51, 3)


def _driver() -> ModuleType:
    """The newest SQLite there is: the wheel's where it is installed, else Python's own."""
    try:
        import pysqlite3.dbapi2 as bundled
    except ImportError:
        return sqlite3
    return bundled if bundled.sqlite_version_info >= sqlite3.sqlite_version_info else sqlite3  # type: ignore[no-any-return]


DRIVER = _driver()


def journal_mode() -> str:
    """WAL where the library is safe, else TRUNCATE."""
    return "WAL" if DRIVER.sqlite_version_info >= SAFE_WAL else "TRUNCATE"


def _never() -> bool:
    """A page: one wait of `BUSY_SECONDS`, then the person is told."""
    return False


class Database:
    """One SQLite file. `read()` and `write()` give connections; only stores call them."""

    def __init__(self, path: Path, wait_on: Callable[[], bool] = _never) -> None:
        """Opens nothing yet; `path` may not exist before the first migration.

        Where another process keeps the file busy, a wait takes `BUSY_SECONDS`; it is begun again as long as `wait_on`
        says so. The worker and its trainers wait for ever: a run is not lost to somebody's long transaction.
        """
        self.path, self._wait_on = path, wait_on
        self.engine: Engine = create_engine(
            f"sqlite:///{path}", module=DRIVER, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
        )
        event.listen(self.engine, "connect", _on_connect)
        event.listen(self.engine, "begin", self._on_begin)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; writes through it fail."""
        with translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, name: str = "", **facts: Any) -> Iterator[Connection]:
        """The one writer: takes the lock first, commits at the end, rolls back on any exception.

        `name` names the write for the tests' failpoints (`<name>.commit` before it is durable, `<name>.committed`
        after), `facts` stand in their history.
        """
        with translated(), self.engine.connect() as plain:
            connection = plain.execution_options(tunesmith_write=True)
            with connection.begin():
                yield connection
                failpoint(f"{name}.commit", **facts)
        failpoint(f"{name}.committed", **facts)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _on_begin(self, connection: Connection) -> None:
        """Say BEGIN ourselves; a write takes its lock here, before anything is done that would be lost."""
        write = connection.get_execution_options().get("tunesmith_write")
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
                return
            except OperationalError as error:
                if not (_is_busy(str(error)) and self._wait_on()):
                    raise


def _is_busy(words: str) -> bool:
    return "locked" in words or "busy" in words


def explained(words: str) -> Unavailable | None:
    """SQLite's own words as a sentence, where the file is busy or the disk full; None for everything else."""
    if _is_busy(words):
        return Unavailable("The records are busy; nothing was changed.", "Try again in a moment.")
    return _full() if "is full" in words or "disk I/O" in words else None


@contextmanager
def translated() -> Iterator[None]:
    """A locked database or a full disk as a sentence; all else goes on as it is."""
    try:
        yield
    except OperationalError as error:
        told = explained(str(error))
        if told is None:
            raise
        raise told from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full() from error
        raise


def _full() -> DiskFull:
    return DiskFull("The disk is full; nothing was changed.", "Make room, then try again.")


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (f"journal_mode={journal_mode()}", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
