"""What a person does beside submitting, each in a process of its own that a failpoint may kill."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config

from studio.core.db import Database
from studio.core.errors import StudioError
from studio.core.migrate import MIGRATIONS, prepare_data_dir
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.chats import Said, Turn
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases import keys, steer, versions
from studio.core.use_cases.upload import import_file


def want_engine(services: Services) -> None:
    """Somebody opens the playground with a model that is not there."""
    services.machines.want_engine(socket.gethostname(), "no/model", "main")
    services.bell.ring_engine()


def want_forecast(services: Services, key: str) -> None:
    """Somebody looks at the forecast of a model that is not there."""
    request = {"config": {"base": {"repo": "no/model"}}, "revision": "main"}
    services.measurements.want(key, request)
    services.bell.ring_forecast()


MAPPING = {"prompt": "asked", "completion": "answer"}
TWICE = {"do": "drop", "kind": "duplicate"}


def repair_and_delete(services: Services, path: str) -> None:
    """A dataset's whole life: made, repaired, taken back, repaired again, deleted with its files."""
    first = import_file(services, LOCAL_USER, Path(path), "life.csv", MAPPING)
    newest = versions.of(services, LOCAL_USER, first.dataset_id)[0]
    repaired = versions.repair(services, LOCAL_USER, newest.id, TWICE) if newest.number == 1 else newest
    versions.undo(services, LOCAL_USER, repaired.id, 0)
    versions.delete(services, LOCAL_USER, first.dataset_id, sure=True)


def chat_life(services: Services) -> None:
    """A chat's whole life: begun, answered, voted on, edited, deleted."""
    chats = services.chats
    chat_id = chats.add(LOCAL_USER, None, ("base",), "life")
    chats.put_turn(chat_id, LOCAL_USER, "", Turn(0, "asked", {0: Said("said")}))
    chats.vote(chat_id, LOCAL_USER, 0, 0)
    chats.edit(chat_id, LOCAL_USER, 0, 0, "better")
    chats.delete(chat_id, LOCAL_USER)


def key_life(services: Services) -> None:
    """A key of the API: made, used, revoked."""
    key, secret = keys.make_key(services, LOCAL_USER, "life")
    assert keys.find_key(services, secret) is not None
    services.keys.revoke(key.id, LOCAL_USER)


DEEDS: dict[str, Callable[..., object]] = {
    "stop": lambda s, run: steer.stop_run(s, LOCAL_USER, run),
    "hold": lambda s, run: steer.hold_run(s, LOCAL_USER, run, True),
    "release": lambda s, run: steer.hold_run(s, LOCAL_USER, run, False),
    "earlier": lambda s, run: steer.move_run(s, LOCAL_USER, run, -1),
    "later": lambda s, run: steer.move_run(s, LOCAL_USER, run, 1),
    "pause": lambda s: steer.pause_queue(s, LOCAL_USER, True),
    "resume": lambda s: steer.pause_queue(s, LOCAL_USER, False),
    "delete": lambda s, run: steer.delete_run(s, LOCAL_USER, run),
    "life": repair_and_delete,
    "engine": want_engine,
    "forecast": want_forecast,
    "chat": chat_life,
    "key": key_life,
    "open": lambda s: None,  # opening the records is the deed
}


def old_records(settings: Settings) -> None:
    """A data folder as the first version left it."""
    prepare_data_dir(settings)
    database = Database(settings.database_path)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    database.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["old"]:
        old_records(Settings())
        sys.exit(0)
    try:
        opened = open_services(Settings())
        DEEDS[sys.argv[1]](opened, *sys.argv[2:])
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
