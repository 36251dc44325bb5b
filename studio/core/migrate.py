"""Bring the data dir and its schema to what this program needs, once, under a lock."""

import fcntl
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from studio.core.db import Database
from studio.core.errors import BootRefused
from studio.core.settings import Settings
from studio.core.stores.users import UserStore

MIGRATIONS = Path(__file__).parents[1] / "migrations"


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive `flock` on `path`, waiting for it; the file stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare_data_dir(settings: Settings) -> None:
    """Make the data dir (mode 0700) where it is missing; warn where it lies below the working or temp directory."""
    path = settings.data_dir
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as error:
        raise BootRefused(
            "The data folder can not be used: " + (error.strerror or "refused") + ".",
            "Set TUNESMITH_DATA_DIR to a folder of yours on a local disk.",
        ) from error
    if is_exposed(path):
        warnings.warn("The data folder lies below the working or temporary directory.", RuntimeWarning, stacklevel=2)


def is_exposed(path: Path) -> bool:
    """Whether `path` lies where Gradio would serve files from if it were asked to."""
    real = path.resolve()
    return any(real.is_relative_to(place.resolve()) for place in (Path.cwd(), Path(tempfile.gettempdir())))


def open_records(settings: Settings) -> Database:
    """The database at the newest schema, with its local user. Raises `BootRefused` for a schema from the future."""
    with file_lock(settings.locks_dir / "migrate.lock"):
        database = Database(settings.database_path)
        with database.write() as connection:
            _upgrade(connection)
        UserStore(database).ensure_local()
    return database


def _upgrade(connection: Connection) -> None:
    """Run the missing migrations inside the caller's `BEGIN IMMEDIATE`: a kill leaves the old schema whole."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise BootRefused(
            "The records were written by a newer Tunesmith.", "Install that version, or choose another data folder."
        )
    if current != script.get_current_head():
        command.upgrade(config, "head")
