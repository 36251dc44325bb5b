"""The doorbell. Huey carries no truth: a lost or doubled ring is harmless, the worker picks from the table."""

import json
from collections.abc import Callable
from typing import Any

from huey import SqliteHuey
from huey.registry import Message
from huey.serializer import Serializer

from studio.core.settings import Settings

RUN_BELL = "runs"
ENGINE_BELL = "engine"
FORECAST_BELL = "forecast"


class JsonSerializer(Serializer):
    """Huey's default is pickle: whoever writes the queue's file would run code in the worker."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(data._asdict() if isinstance(data, Message) else data).encode()

    def _deserialize(self, data: bytes) -> Any:
        value = json.loads(data)
        return Message(**value) if _is_message(value) else value


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == set(Message._fields)


def _unheard() -> None:
    """A bell that only rings."""


def open_queue(settings: Settings) -> SqliteHuey:
    """Huey on `queue.db`; the file may be deleted at any time."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return SqliteHuey(
        "tunesmith",
        filename=str(settings.queue_path),
        results=False,
        fsync=True,
        timeout=20,
        serializer=JsonSerializer(),
        journal_mode="truncate",  # Python's own SQLite may have the WAL-reset bug
        utc=True,
    )


class Bell:
    """Rings from any process; the worker's own bell is the one that hears (`on_runs`, `on_engine`, `on_forecast`).

    A task's name on the wire holds the module of its function, so both ends are made here.
    """

    def __init__(
        self,
        settings: Settings,
        on_runs: Callable[[], None] = _unheard,
        on_engine: Callable[[], None] = _unheard,
        on_forecast: Callable[[], None] = _unheard,
    ) -> None:
        """Opens the queue's file where it is missing."""

        def runs() -> None:
            on_runs()

        def engine() -> None:
            on_engine()

        def forecast() -> None:
            on_forecast()

        self.huey = open_queue(settings)
        self._runs = self.huey.task(name=RUN_BELL)(runs)
        self._engine = self.huey.task(name=ENGINE_BELL)(engine)
        self._forecast = self.huey.task(name=FORECAST_BELL)(forecast)

    def ring_runs(self) -> None:
        """Say that a run may wait."""
        self._runs()

    def ring_engine(self) -> None:
        """Say that somebody wants the playground's process."""
        self._engine()

    def ring_forecast(self) -> None:
        """Say that somebody wants a dry run."""
        self._forecast()
