"""The C library's heap: what it keeps of freed memory, and when that is given back to the system.

Micro-batches of many widths leave holes, and the allocator keeps what is freed (`ALLOCATOR` in `supervise.py`): on
ragged examples the process grew for some sixty steps. To clear the pages again costs less than a step takes.
"""

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager

TIDY_SECONDS = 10.0
_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU C library's


def tidy_heap() -> None:
    """Give the pages between the blocks of the heap back to the system, where its library can."""
    if _TRIM is not None:
        _TRIM(0)


@contextmanager
def tidied_heap() -> Iterator[None]:
    """Tidy before and after: what is done inside takes much at once, and so does what stands around it."""
    tidy_heap()
    yield
    tidy_heap()


class Tidy:
    """Tidies the heap at the right moments."""

    def __init__(self) -> None:
        """Nothing is given back yet."""
        self._steps, self._last = 0, 0.0

    def now_and_then(self) -> None:
        """Before a step, when only what lasts is in memory: after the model was loaded, after the optimizer's tensors
        came in the first step, and from then on where it is long ago.
        """
        self._steps += 1
        if self._steps <= 2 or time.monotonic() - self._last > TIDY_SECONDS:
            tidy_heap()
            self._last = time.monotonic()
