"""Whole copies of the records: made while others write, checked, and durable before they bear their name."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studio.core.artifacts import sync
from studio.core.db import BUSY_SECONDS, DRIVER, explained
from studio.core.disk import free_bytes
from studio.core.errors import Refused
from studio.core.failpoints import failpoint
from studio.core.settings import Settings

DAMAGED = ("The records are damaged.", "Run `tunesmith restore FILE` with a backup.")
SNAPSHOT = "records-*.db"


def backups_dir(settings: Settings) -> Path:
    """Where copies lie that the program makes by itself."""
    return settings.data_dir / "backups"


def stamp(at: float | None = None) -> str:
    """A moment as part of a file's name; names sort as the moments do."""
    return datetime.fromtimestamp(time.time() if at is None else at, UTC).strftime("%Y%m%dT%H%M%S%fZ")


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """A connection that can only read, in the driver that this process uses for everything; the file must be there.

    A database must never be opened by two SQLite libraries in one process, nor by plain `open`: closing one would take
    the other's locks away. Raises Unavailable where the file is busy, DiskFull, and Refused where it is damaged.
    """
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(DRIVER.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            yield connection
    except DRIVER.DatabaseError as error:
        raise _translated(str(error)) from error


def _translated(words: str) -> Exception:
    if (told := explained(words)) is not None:
        return told
    if "readonly" in words or "unable to open" in words:
        return Refused("The records can not be opened: " + words + ".", "Look at the data folder's permissions.")
    return Refused(*DAMAGED)


def is_whole(connection: Any) -> bool:
    """Whether SQLite's `quick_check` finds no fault."""
    return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")


def revision_of(connection: Any) -> str | None:
    """The schema's revision; None where no migration has run yet."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if there else None
    return str(row[0]) if row else None


def copy_records(source: Path, target: Path) -> None:
    """A copy of one moment of `source` at `target`, beside running writers. Two may not make the same `target` at once.

    Raises DiskFull, Unavailable where the records stay busy, and Refused where they (or the copy) are damaged.
    """
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with reading(source) as connection:
            connection.execute("VACUUM INTO ?", (str(part),))
        part.chmod(0o600)
        with reading(part) as copy:
            if not is_whole(copy):
                raise Refused(*DAMAGED)
        sync(part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(target.parent)


def keep_snapshots(settings: Settings) -> Path | None:
    """The scheduled copy, where one is due and fits on the disk; then the oldest beyond `backup_kept` go.

    The new one's path, or None. Takes as long as the records are big. Raises as `copy_records`.
    """
    folder = backups_dir(settings)
    if not settings.backup_hours or not settings.database_path.exists() or not _is_due(folder, settings.backup_hours):
        return None
    if free_bytes(settings) < settings.database_path.stat().st_size + settings.disk_floor_bytes:
        return None
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder / SNAPSHOT.replace("*", stamp())
    copy_records(settings.database_path, made)
    failpoint("snapshot.made")
    for old in sorted(folder.glob(SNAPSHOT))[: -settings.backup_kept]:
        old.unlink(missing_ok=True)
    return made


def _is_due(folder: Path, hours: float) -> bool:
    newest = max((path.stat().st_mtime for path in folder.glob(SNAPSHOT)), default=0.0)
    return abs(time.time() - newest) >= hours * 3600  # a clock that was set back does not stop the snapshots
