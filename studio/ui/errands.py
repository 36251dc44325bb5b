"""Slow work of a page: done in a thread, its progress told while it goes on, ended when the person says so.

`Errands.run` is a generator for a handler to go through. Cancel comes in another request of the same tab, so each
errand has an id that stands in a hidden box; only its owner's Cancel counts.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from studio.core.artifacts import new_id
from studio.core.child import Progress
from studio.core.errors import Conflict

EVERY_SECONDS = 0.25
Work = Callable[[Progress], Any]


class Cancelled(Conflict):
    """The person ended it."""

    def __init__(self) -> None:
        """The same words everywhere."""
        super().__init__("Cancelled.", "Nothing was changed.")


@dataclass(frozen=True)
class Moment:
    """How far an errand is: a share from 0 to 1 and words; `result` once it is done."""

    share: float
    words: str
    done: bool = False
    result: Any = None


@dataclass(frozen=True)
class Errand:
    """One piece of work that can be ended."""

    id: str
    owner: str
    stop: threading.Event = field(default_factory=threading.Event)
    silent: threading.Event = field(default_factory=threading.Event)


class Errands:
    """What is under way for all tabs. Safe for several threads."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._lock = threading.Lock()
        self._open: dict[str, Errand] = {}

    def begin(self, owner: str) -> Errand:
        """A new errand; `run` forgets it when it is over."""
        errand = Errand(new_id(), owner)
        with self._lock:
            self._open[errand.id] = errand
        return errand

    def cancel(self, errand_id: str, owner: str, *, silent: bool = False) -> bool:
        """End an errand of `owner`; whether there was one. `silent`: another one has taken its place on the page."""
        with self._lock:
            errand = self._open.get(errand_id)
        if errand is None or errand.owner != owner:
            return False
        if silent:
            errand.silent.set()
        errand.stop.set()
        return True

    def run(self, errand: Errand, work: Work) -> Iterator[Moment]:
        """Do `work` in a thread and tell its moments, the last one with its result.

        Raises what `work` raises, `Cancelled` where it was ended. A tab that goes away ends it too.
        """
        told: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=_do, args=(errand, work, told), daemon=True).start()
        try:
            while True:
                moment = _latest(told)
                if isinstance(moment, BaseException):
                    raise moment
                if moment is not None:
                    yield moment
                    if moment.done:
                        return
        finally:
            errand.stop.set()
            with self._lock:
                self._open.pop(errand.id, None)


def _do(errand: Errand, work: Work, told: "SimpleQueue[Any]") -> None:
    """The thread: every report of progress is also where it can be ended."""

    def on_progress(share: float, words: str) -> None:
        if errand.stop.is_set():
            raise Cancelled
        told.put(Moment(share, words))

    try:
        told.put(Moment(1.0, "", done=True, result=work(on_progress)))
    except BaseException as error:  # handed to the page, which says it
        told.put(error)


def _latest(told: "SimpleQueue[Any]") -> Any:
    """The newest report within a moment, the end at once; None where there is none yet."""
    deadline, latest = time.monotonic() + EVERY_SECONDS, None
    while (left := deadline - time.monotonic()) > 0:
        try:
            latest = told.get(timeout=left)
        except Empty:
            break
        if isinstance(latest, BaseException) or latest.done:
            return latest
    return latest


ERRANDS = Errands()
