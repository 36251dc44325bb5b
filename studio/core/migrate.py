"""Bring the data dir and its schema to what this program needs, once, under a lock."""

import contextlib
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from studio.core.artifacts import write_json
from studio.core.boot import LEAST_FREE, check_file_system, check_place, check_records, refuse
from studio.core.copies import backups_dir, copy_records, stamp
from studio.core.db import Database
from studio.core.disk import drop_ballast, existing, free_bytes
from studio.core.errors import BootRefused
from studio.core.failpoints import failpoint
from studio.core.locks import file_lock
from studio.core.mark import begin_mark
from studio.core.restore import finish
from studio.core.settings import Settings
from studio.core.stores.users import UserStore

log = logging.getLogger("tunesmith.records")
MIGRATIONS = Path(__file__).parents[1] / "migrations"


def prepare_data_dir(settings: Settings) -> None:
    """Make the data dir (mode 0700) where it is missing; warn where it lies below the working or temp directory."""
    path = settings.data_dir
    refuse([check_file_system(existing(path))])
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as error:
        raise BootRefused(
            "The data folder can not be used: " + (error.strerror or "refused") + ".",
            "Set TUNESMITH_DATA_DIR to a folder of yours on a local disk.",
        ) from error
    if free_bytes(settings) < LEAST_FREE:
        drop_ballast(settings)
    refuse(check_place(settings))
    if is_exposed(path):
        warnings.warn("The data folder lies below the working or temporary directory.", RuntimeWarning, stacklevel=2)


def is_exposed(path: Path) -> bool:
    """Whether `path` lies where Gradio would serve files from if it were asked to."""
    real = path.resolve()
    return any(real.is_relative_to(place.resolve()) for place in (Path.cwd(), Path(tempfile.gettempdir())))


def open_records(settings: Settings, wait_on: Callable[[], bool] = lambda: False) -> Database:
    """The checked database at the newest schema, with its local user. `wait_on` as for `Database`.

    A restore that was cut off is ended first, in words to the log and to the page. Raises `BootRefused` where the
    records are missing, damaged, behind their mark or from the future; `DiskFull` where a migration finds no room.
    """
    with file_lock(settings.locks_dir / "migrate.lock"):
        _say(settings, finish(settings))
        refuse(check_records(settings, known_revisions()))
        database = Database(settings.database_path, wait_on)
        _upgrade(settings, database)
        UserStore(database).ensure_local()
        with contextlib.suppress(OSError):  # a full disk: the worker notes it when there is room
            begin_mark(settings, database)
    return database


def known_revisions() -> frozenset[str]:
    """The revisions of the schema that this program can read."""
    return frozenset(revision.revision for revision in _script(Config()).walk_revisions())


def _script(config: Config) -> ScriptDirectory:
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def _say(settings: Settings, words: str) -> None:
    if words:
        log.warning(words)
        write_json(settings.data_dir / "notice.json", {"at": time.time(), "words": words})


def _upgrade(settings: Settings, database: Database) -> None:
    """Run the missing migrations in one transaction, after a copy: a kill leaves the old schema whole."""
    config = Config()
    newest = _script(config).get_current_head()
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == newest:
        return
    if current is not None:
        folder = backups_dir(settings)
        folder.mkdir(mode=0o700, exist_ok=True)
        copy_records(settings.database_path, folder / f"before-{newest}-{stamp()}.db")
        failpoint("migration.copied")
    with database.write("migration") as connection:
        config.attributes["connection"] = connection
        failpoint("migration.begun")
        command.upgrade(config, "head")
    failpoint("migration.done")
