"""What finished answers have read, kept so that the next turn of a chat does not read the first again."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.engine.slab import Read

LEAST = 16
"""To copy fewer tokens than this saves nothing."""


@dataclass(frozen=True, eq=False)
class Entry:
    """Keys and values of the tokens `ids`, as the model `key` reads them."""

    key: str
    ids: NDArray[np.int32]
    read: Read
    size: int


class Kept:
    """The newest of them, up to so many bytes."""

    def __init__(self, most: int) -> None:
        """`most` bytes; 0 keeps nothing."""
        self._most = most
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._count = 0
        self.size = 0

    def put(self, key: str, ids: Sequence[int], read: Read) -> None:
        """Keep what was read; a shorter one that it begins with goes, then the longest unused ones."""
        size = sum(keys.nbytes + values.nbytes for keys, values in read)
        if len(ids) < LEAST or size > self._most:
            return
        new = Entry(key, np.asarray(ids, dtype=np.int32), read, size)
        for number, old in list(self._entries.items()):
            if old.key == key and _shared(old.ids, new.ids) == len(old.ids):
                self._forget(number)
        while self.size + size > self._most:
            self._forget(next(iter(self._entries)))
        self._count += 1
        self._entries[self._count] = new
        self.size += size

    def longest(self, key: str, prompt: Sequence[int]) -> tuple[Read, int]:
        """What was read of a prompt before, and how many of its tokens: never all, as the last one is asked."""
        ids = np.asarray(prompt[:-1], dtype=np.int32)
        shared = {number: _shared(one.ids, ids) for number, one in self._entries.items() if one.key == key}
        best = max(shared, key=lambda number: shared[number], default=None)
        if best is None or shared[best] < LEAST:
            return [], 0
        self._entries.move_to_end(best)
        return self._entries[best].read, shared[best]

    def clear(self) -> None:
        """Forget all: the model has changed."""
        self._entries.clear()
        self.size = 0

    def _forget(self, number: int) -> None:
        self.size -= self._entries.pop(number).size


def _shared(one: NDArray[np.int32], two: NDArray[np.int32]) -> int:
    """How many first ids are the same."""
    length = min(len(one), len(two))
    unlike = one[:length] != two[:length]
    return int(unlike.argmax()) if unlike.any() else length
