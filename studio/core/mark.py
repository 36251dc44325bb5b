"""`records.mark`: how far the records were, beside them and not in them.

A database that is missing or behind its mark is refused at boot: nobody goes on from a fresh empty one, from an older
copy, or from one whose -wal file was deleted, without having said so by deleting the mark.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from studio.core.artifacts import read_json, write_json
from studio.core.db import Database
from studio.core.failpoints import failpoint
from studio.core.settings import Settings

MARK = "records.mark"
SEEN = "seen"
SEEN_SECONDS = 60  # the heartbeat alone moves every 5 s; noting each would double the worker's idle writes
# No row of these tables is ever removed, so no value falls; a worker that leaves in order sets its own `seen_at` to 0.
VALUES = {
    "created": "SELECT max(created_at) FROM users WHERE id = 'local'",
    "event": "SELECT coalesce(max(id), 0) FROM run_events",
    "message": "SELECT coalesce(max(id), 0) FROM messages",
    "dataset": "SELECT coalesce(max(created_at), 0) FROM dataset_versions",
    SEEN: "SELECT coalesce(max(seen_at), 0) FROM machines",
}
Scalar = Callable[[str], Any]


def read_values(scalar: Scalar) -> dict[str, Any]:
    """How far the records are. `scalar` runs a query and gives its one value; without tables all values are None."""
    tables = scalar("SELECT count(*) FROM sqlite_master WHERE name IN ('users', 'machines')")
    return {name: scalar(query) if tables == 2 else None for name, query in VALUES.items()}


def read_mark(settings: Settings) -> dict[str, Any] | None:
    """What was noted last; None where nothing was, or where it can not be read any more."""
    try:
        found = read_json(settings.data_dir / MARK)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_mark(settings: Settings, values: dict[str, Any]) -> None:
    """Note how far the records are, durably. `values` were read before, so that they are never above the truth."""
    failpoint("mark.moved")
    write_json(settings.data_dir / MARK, {**values, "at": time.time()})
    failpoint("mark.kept")


def behind(values: dict[str, Any], mark: dict[str, Any]) -> str:
    """The name of the first value that says that these are other or older records than the mark's; empty if none."""
    if "created" in mark and values["created"] != mark["created"]:
        return "created"
    return next((name for name in VALUES if name in mark and (values[name] or 0) < mark[name]), "")


def day(mark: dict[str, Any]) -> str:
    """When it was written, for people."""
    return datetime.fromtimestamp(mark.get("at", 0), UTC).strftime("%Y-%m-%d %H:%M UTC")


class MarkKeeper:
    """The worker's pen: the mark follows the records while it lives."""

    def __init__(self, settings: Settings, db: Database) -> None:
        """Writes nothing yet."""
        self._settings, self._db = settings, db
        self._noted: dict[str, Any] = {}

    def keep(self) -> None:
        """Note what has moved since; the heartbeat alone only once a minute. Raises OSError on a full disk."""
        values = self._values()
        rest = {name: value for name, value in values.items() if name != SEEN}
        same = rest.items() <= self._noted.items()
        if same and abs(values[SEEN] - self._noted.get(SEEN, 0.0)) < SEEN_SECONDS:
            return
        write_mark(self._settings, values)
        self._noted = values

    def leave(self) -> None:
        """Before the worker sets its own heartbeat to 0: nothing is asked of it from now on."""
        write_mark(self._settings, {name: value for name, value in self._values().items() if name != SEEN})

    def _values(self) -> dict[str, Any]:
        with self._db.read() as connection:
            return read_values(lambda query: connection.exec_driver_sql(query).scalar())


def begin_mark(settings: Settings, db: Database) -> None:
    """The first note about these records, where there is none yet; the heartbeat is the worker's to note."""
    if read_mark(settings) is None:
        MarkKeeper(settings, db).leave()
