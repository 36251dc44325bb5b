"""How fast tokens are made: what /healthz tells of the last seconds."""

import time
from collections import deque

WINDOW_S = 10.0


class Gauge:
    """Tokens made, counted by whoever makes them and read by another thread."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._made: deque[tuple[float, int]] = deque(maxlen=10_000)
        self.total = 0

    def made(self, count: int) -> None:
        """So many tokens now."""
        if count:
            self._made.append((time.monotonic(), count))
            self.total += count

    @property
    def per_second(self) -> float:
        """Tokens a second, from the first to the last of the window; 0 where nothing was made in it."""
        recent = [(at, count) for at, count in list(self._made) if at > time.monotonic() - WINDOW_S]
        if len(recent) < 2:
            return 0.0
        return round(sum(count for _, count in recent[1:]) / max(recent[-1][0] - recent[0][0], 1e-3), 1)
