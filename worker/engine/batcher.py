"""One thread owns the model: it answers requests that arrive together in one batch, and changes adapters in between."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import torch

from studio.core.errors import StudioError, Unavailable
from worker.engine.generate import Row, decode
from worker.engine.models import LoadedModel

log = logging.getLogger(__name__)

TOGETHER_S = 0.05
"""How long a request waits for company of which nobody told it."""
COMPANY_S = 2.0
"""How long it waits for the other columns of its page: they ask within milliseconds, but a busy machine is slow."""
MOST_ROWS = 16
Job = Callable[[], None]


class Batcher(threading.Thread):
    """The decoding thread."""

    def __init__(self, loaded: LoadedModel, threads: int) -> None:
        """`threads` is how many cores one product may use."""
        super().__init__(name="decoder", daemon=True)
        self._loaded = loaded
        self._threads = threads
        self._items: queue.Queue[Row | Job | None] = queue.Queue()
        self._rows: set[Row] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def busy(self) -> int:
        """How many requests wait or are being answered."""
        with self._lock:
            return len(self._rows)

    def ask(self, row: Row) -> None:
        """Queue a row; its listener hears the rest."""
        with self._lock:
            self._rows.add(row)
        self._items.put(row)

    def call(self, job: Job) -> "Future[None]":
        """Run a change of the model between two batches; the future holds what it raised."""
        future: Future[None] = Future()

        def run() -> None:
            try:
                job()
                future.set_result(None)
            except BaseException as error:
                future.set_exception(error)

        self._items.put(run)
        return future

    def close(self) -> None:
        """End all answers within one token, then the thread."""
        self._closed = True
        with self._lock:
            for row in self._rows:
                row.stopped.set()
        self._items.put(None)

    def run(self) -> None:
        """Take work until closed."""
        torch.set_num_threads(self._threads)  # the count is kept for each thread
        while not self._closed:
            item = self._items.get()
            if isinstance(item, Row):
                self._answer(self._gather(item))
            elif item is not None:
                item()

    def _gather(self, first: Row) -> list[Row]:
        """The rows that arrive with the first: its page's columns, else what comes within a moment.

        A change of the model ends the gathering.
        """
        rows, told = [first], first.columns > 1
        until = time.monotonic() + (COMPANY_S if told else TOGETHER_S)
        while len(rows) < (first.columns if told else MOST_ROWS) and not first.stopped.is_set():
            try:
                item = self._items.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if not isinstance(item, Row):
                self._items.put(item)
                break
            rows.append(item)
        return rows

    def _answer(self, rows: list[Row]) -> None:
        try:
            decode(self._loaded, rows)
        except Exception as error:
            log.exception("a batch of %d could not be answered", len(rows))
            said = as_sentence(error)
            for row in rows:
                row.fail(said)
        finally:
            with self._lock:
                self._rows.difference_update(rows)


def as_sentence(error: Exception) -> StudioError:
    """What a person reads when a batch breaks."""
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)
    if memory or "can't allocate memory" in str(error):
        return Unavailable("The answer needs more memory than there is.", "Shorten the chat, or ask for fewer tokens.")
    return Unavailable("The model broke off in the middle of the answer.", "Ask again.")
