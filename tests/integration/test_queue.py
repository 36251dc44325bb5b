"""The doorbell on a real Huey file."""

import json
import sqlite3

from studio.core.queue import Bell
from studio.core.services import Services
from studio.core.settings import Settings


def test_a_ring_is_heard_by_the_worker_of_the_same_data_dir(settings: Settings, services: Services) -> None:
    heard: list[str] = []
    listening = Bell(settings, on_runs=lambda: heard.append("runs"), on_engine=lambda: heard.append("engine"))
    services.bell.ring_runs()
    services.bell.ring_engine()
    while (task := listening.huey.dequeue()) is not None:
        listening.huey.execute(task)
    listening.huey.storage.close()
    assert heard == ["runs", "engine"]


def test_what_lies_in_the_queue_is_json_and_holds_no_value(settings: Settings, services: Services) -> None:
    services.bell.ring_runs()
    connection = sqlite3.connect(settings.queue_path)
    (data,) = connection.execute("SELECT data FROM task").fetchone()
    connection.close()
    message = json.loads(data)
    assert message["name"].endswith(".runs") and message["args"] == [] and message["kwargs"] == {}


def test_the_queue_file_may_be_deleted_at_any_time(settings: Settings, services: Services) -> None:
    services.bell.ring_runs()
    services.bell.huey.storage.close()
    settings.queue_path.unlink()
    again = Bell(settings)
    again.ring_runs()
    assert again.huey.pending_count() == 1
    again.huey.storage.close()
