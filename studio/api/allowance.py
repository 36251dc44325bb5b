"""How much one key may ask: calls in a minute, and answers at once. Kept in memory: about floods, not about bills."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from studio.api.errors import ApiError

MINUTE = 60.0
CROWD_SECONDS = 1


class Allowance:
    """Counts by who asks: a key's id, or the person where there is no key. For one event loop."""

    def __init__(self, per_minute: int, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        """0 sets no limit."""
        self._per_minute, self._at_once, self._clock = per_minute, at_once, clock
        self._calls: dict[str, deque[float]] = {}
        self._seats: Counter[str] = Counter()

    def call(self, who: str) -> None:
        """Count a call. Raises ApiError 429 with the seconds after which there is room again."""
        if not self._per_minute:
            return
        now = self._clock()
        self._forget(now)
        calls = self._calls.setdefault(who, deque())
        if len(calls) >= self._per_minute:
            wait = max(1, round(calls[0] + MINUTE - now + 0.5))
            raise too_many(f"More than {self._per_minute:,} calls came in a minute.", wait)
        calls.append(now)

    def _forget(self, now: float) -> None:
        """Drop what is older than a minute; who has nothing left is forgotten."""
        for who in list(self._calls):
            calls = self._calls[who]
            while calls and calls[0] <= now - MINUTE:
                calls.popleft()
            if not calls:
                del self._calls[who]

    @contextmanager
    def seats(self, who: str, answers: int) -> Iterator[None]:
        """While open, so many answers are under way. Raises ApiError 429 where there is no room for them."""
        if self._at_once and self._seats[who] + answers > self._at_once:
            raise too_many(f"More than {self._at_once:,} answers are under way at once.", CROWD_SECONDS)
        self._seats[who] += answers
        try:
            yield
        finally:
            self._seats[who] -= answers
            self._seats += Counter()  # forgets those who have none left


def too_many(problem: str, wait: int) -> ApiError:
    """429, and when to come back."""
    return ApiError(429, "rate_limit_exceeded", problem, f"Ask again in {wait} s.", retry_after=str(wait))
