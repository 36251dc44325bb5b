"""Which prompts are read next, and which rows are decoded: requests join and leave between two tokens."""

import logging
import time
from collections import deque
from collections.abc import Callable

import psutil
import torch

from studio.core.errors import NotFound, StudioError, Unavailable
from worker.engine.beams import answer_with_beams
from worker.engine.gauge import Gauge
from worker.engine.kept import Kept
from worker.engine.lanes import Cohort, Lane
from worker.engine.models import LoadedModel
from worker.engine.row import Row

log = logging.getLogger(__name__)

COMPANY_S = 0.1
"""How long a row waits for the other columns of its page, with which it reads its prompt in one pass."""
MOST_ROWS = 32
CHUNK_S = 0.3
"""A pass over a prompt should take no longer: a stop is heard, and others get their tokens, in between."""
LEAST_CHUNK, MOST_CHUNK = 128, 1024
"""Tokens of a pass. Fewer hardly take less time than these."""
TURN = 4
"""Tokens in a row for a lane where there are several: adapters that can not be mixed, and very unequal lengths."""
SIZES = (2048, 8192)
"""Rows share a lane up to such a length: a short one beside a long one takes as much memory."""
FLOOR = 400_000_000
"""With less free memory nobody joins who would not be alone."""


class Scheduler:
    """Everything that is asked of one model. One thread calls it."""

    def __init__(self, loaded: LoadedModel, kept_bytes: int = 0, intake: Callable[[], None] = lambda: None) -> None:
        """`intake` adds rows that have arrived; it is asked inside of long work."""
        self.loaded, self.kept, self._intake = loaded, Kept(kept_bytes), intake
        self.waiting: deque[Row] = deque()
        self.cohort: Cohort | None = None
        self.lanes: dict[str, Lane] = {}
        self.gauge = Gauge()
        self.chunk = 256
        self._in_beams = False

    def add(self, row: Row) -> None:
        """Queue a row."""
        row.asked = time.monotonic()
        self.waiting.append(row)

    @property
    def active(self) -> int:
        """Rows that are read or decoded now."""
        return sum(len(lane.rows) for lane in self.lanes.values()) + (len(self.cohort.rows) if self.cohort else 0)

    @torch.inference_mode()
    def turn(self, admit: bool = True) -> bool:
        """Read some of a prompt, decode a token for each row; false where there was nothing to do.

        Without `admit` nobody begins.
        """
        self._drop_gone()
        read = self._read(admit)
        several = len(self.lanes) > 1
        made = sum(self._decode(name) for name in list(self.lanes) for _ in range(TURN if several else 1))
        self.gauge.made(made)
        return read or made > 0

    def _drop_gone(self) -> None:
        if any(row.stopped.is_set() for row in self.waiting):
            self.waiting = deque(row for row in self.waiting if not row.left())

    def _read(self, admit: bool) -> bool:
        """A chunk's worth of prompts; gives whether there was one."""
        budget = self.chunk
        while budget > 0 and (self.cohort or (admit and self._begin())):
            if self.cohort is not None:
                budget -= self._read_on(self.cohort)
        return budget < self.chunk

    def _begin(self) -> bool:
        """Let the next rows begin; false where none may."""
        free = MOST_ROWS - self.active
        room = free > 0 and (not self.active or psutil.virtual_memory().available > FLOOR)
        first = next((row for row in self.waiting if self._may_begin(row)), None) if room else None
        if first is None:
            return False
        if first.beams > 1:
            self.waiting.remove(first)
            self._answer_with_beams(first)
            return True
        rows = [row for row in self.waiting if self._alike(row) == self._alike(first)][:free]
        for row in rows:
            self.waiting.remove(row)
        self.cohort = Cohort(rows, self.loaded, self.kept)
        return True

    def _may_begin(self, row: Row) -> bool:
        """Whether a row need not wait for its page's other columns, nor for an answer with beams to end."""
        if not self.loaded.knows(row.key):
            row.fail(NotFound("The model of this answer is no longer loaded.", "Ask again."))
            row.stopped.set()
            return False
        if self._in_beams and (row.beams > 1 or self.loaded.group(row.key)):
            return False
        company = sum(other.columns == row.columns for other in self.waiting)
        return company >= row.columns or time.monotonic() - row.asked >= COMPANY_S

    def _alike(self, row: Row) -> object:
        """Rows for which this is the same read their prompts in one pass."""
        if row.beams > 1 or not self.loaded.is_plain(row.key):
            return id(row)
        return self.loaded.group(row.key), len(row.prompt), self.kept.longest(row.key, row.prompt)[1]

    def _read_on(self, cohort: Cohort) -> int:
        """One pass over the next tokens; gives how many."""
        cohort.shed()
        if not cohort.rows:
            self.cohort = None
            return 0
        each = max(1, self.chunk // len(cohort.rows))
        began, count = time.monotonic(), min(each, cohort.left) * len(cohort.rows)
        try:
            logits = cohort.read(each)
            if logits is not None:
                self.cohort = None
                self._lane_of(cohort).join(cohort, logits)
                self.gauge.made(len(cohort.rows))
        except Exception as error:
            self.cohort = None
            self._fail(cohort.rows, error)
        if count > self.chunk // 2:
            fitting = count * CHUNK_S / max(time.monotonic() - began, 1e-4)
            self.chunk = min(max(LEAST_CHUNK, int(fitting)), 2 * self.chunk, MOST_CHUNK)
        return count

    def _lane_of(self, cohort: Cohort) -> Lane:
        row = cohort.rows[0]
        size = sum(len(row.prompt) > most for most in SIZES)
        shared = self.loaded.is_plain(row.key) and size < len(SIZES)
        name = f"{self.loaded.group(row.key)} {size}" if shared else f"{id(row)}"
        return self.lanes.setdefault(name, Lane(self.loaded, self.kept))

    def _decode(self, name: str) -> int:
        lane = self.lanes.get(name)
        if lane is None or (self._in_beams and any(self.loaded.group(row.key) for row in lane.rows)):
            return 0
        made, rows = 0, list(lane.rows)
        try:
            made = lane.step()
        except Exception as error:
            lane.rows = []
            self._fail(rows, error)
        if not lane.rows:
            del self.lanes[name]
        return made

    def _answer_with_beams(self, row: Row) -> None:
        self._in_beams = True
        try:
            answer_with_beams(self.loaded, row, self._meanwhile)
        except Exception as error:
            self._fail([row], error)
        finally:
            self._in_beams = False

    def _meanwhile(self) -> None:
        """A turn for all others, inside of an answer with beams."""
        self._intake()
        self.turn()
        self.loaded.settle()

    def _fail(self, rows: list[Row], error: Exception) -> None:
        log.exception("a batch of %d could not be answered", len(rows), exc_info=error)
        said = as_sentence(error)
        for row in rows:
            row.fail(said)


def decode(loaded: LoadedModel, rows: list[Row]) -> None:
    """Answer all rows, begun at the same moment; each one's listener hears of its end at once."""
    scheduler = Scheduler(loaded)
    for row in rows:
        scheduler.add(row)
    while scheduler.waiting or scheduler.active:
        scheduler.turn()
    loaded.settle()


def as_sentence(error: Exception) -> StudioError:
    """What a person reads when a batch breaks."""
    if isinstance(error, StudioError):
        return error
    memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)
    if memory or "can't allocate memory" in str(error):
        return Unavailable("The answer needs more memory than there is.", "Shorten the chat, or ask for fewer tokens.")
    return Unavailable("The model broke off in the middle of the answer.", "Ask again.")
