"""One thread owns the model: it decodes the running batch, lets requests in and out, changes adapters in between."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import torch

from studio.core.errors import StudioError
from worker.engine.models import LoadedModel
from worker.engine.row import Row
from worker.engine.scheduler import Scheduler

STALLED_S = 0.005
"""How long to wait for company where that is all there is to do."""
Work = Callable[[], None]


@dataclass(eq=False)
class Job:
    """A change of the model. `alone`: while nobody is being answered, as it would change what they hear."""

    work: Work
    alone: bool
    future: "Future[None]"

    def run(self) -> None:
        """Do it; the future holds what it raised."""
        try:
            self.work()
            self.future.set_result(None)
        except BaseException as error:
            self.future.set_exception(error)


class Batcher(threading.Thread):
    """The decoding thread."""

    def __init__(self, loaded: LoadedModel, threads: int, kept_bytes: int = 0) -> None:
        """`threads` is how many cores one product may use; `kept_bytes` is for chats that may go on."""
        super().__init__(name="decoder", daemon=True)
        self._threads = threads
        self.scheduler = Scheduler(loaded, kept_bytes, self._take_arrived)
        self._items: queue.Queue[Row | Job | None] = queue.Queue()
        self._jobs: list[Job] = []
        self._rows: set[Row] = set()
        self._lock = threading.Lock()
        self._farewell: StudioError | None = None

    @property
    def busy(self) -> int:
        """How many requests wait or are being answered."""
        with self._lock:
            self._rows = {row for row in self._rows if not row.over}
            return len(self._rows)

    def answers(self, key: str) -> bool:
        """Whether a request of this model waits or is being answered."""
        with self._lock:
            return any(row.key == key and not row.over for row in self._rows)

    def ask(self, row: Row) -> None:
        """Queue a row; its listener hears the rest."""
        with self._lock:
            self._rows = {other for other in self._rows if not other.over} | {row}
        self._items.put(row)

    def call(self, work: Work, alone: bool = False) -> "Future[None]":
        """Change the model between two tokens, or once nobody is being answered; the future holds what it raised."""
        job = Job(work, alone, Future())
        self._items.put(job)
        return job.future

    def close(self, farewell: StudioError) -> None:
        """End all answers within one token, with these words; then the thread."""
        self._farewell = farewell
        self._items.put(None)

    def run(self) -> None:
        """Take work until closed."""
        torch.set_num_threads(self._threads)  # the count is kept for each thread
        went_on = False
        while self._farewell is None:
            idle = not (self._jobs or self.scheduler.waiting or self.scheduler.active)
            self._take(None if idle else 0 if went_on else STALLED_S)
            self._take_arrived()
            self._change()
            went_on = self.scheduler.turn(admit=not self._jobs)
        with self._lock:
            for row in self._rows:
                row.fail(self._farewell)

    def _take(self, patience: float | None) -> None:
        """One item, for which it waits so long; None is for ever."""
        try:
            item = self._items.get(block=patience != 0, timeout=patience or None)
        except queue.Empty:
            return
        if isinstance(item, Row):
            self.scheduler.add(item)
        elif item is not None:
            self._jobs.append(item)

    def _take_arrived(self) -> None:
        """All that has arrived."""
        while not self._items.empty():
            self._take(0)

    def _change(self) -> None:
        """Do the jobs that may be done now, in their order."""
        while self._jobs and not (self._jobs[0].alone and self.scheduler.active):
            self.scheduler.loaded.settle()
            self._jobs.pop(0).run()
