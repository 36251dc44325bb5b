"""Sentences that a large part of the answers share word for word at their beginning or end."""

import re
from array import array

import numpy as np

MOST = 500_000
SHARE, LEAST = 0.3, 50

_LONG = 120
_SPAN = 240
_NAMED_FROM = 5_000
_MARKS = ".!?:"
_END = re.compile(r"[.!?:](?=\s)|\n")


class Sentences:
    """The first and last sentences of long answers, as hashes."""

    def __init__(self) -> None:
        self._ordinals, self._firsts, self._lasts = array("q"), array("q"), array("q")
        self._words: dict[int, str] = {}

    def add(self, ordinal: int, answer: str) -> None:
        """One answer; short ones, and ones that are no prose, are left out."""
        if len(answer) < _LONG or len(self._ordinals) >= MOST or answer[0] in "{[<`":
            return
        first, last = _first(answer), _last(answer)
        self._ordinals.append(ordinal)
        self._firsts.append(hash(first) if first else 0)
        self._lasts.append(hash(last) if last else 0)
        if len(self._ordinals) <= _NAMED_FROM:
            self._words.update({hash(sentence): sentence for sentence in (first, last) if sentence})

    def shared(self) -> tuple[list[int], list[str], int]:
        """Ordinals of the examples with such a sentence, these sentences, and how many answers were looked at."""
        total = len(self._ordinals)
        if total < LEAST:
            return [], [], total
        ordinals, found = np.array(self._ordinals, dtype=np.int64), np.zeros(total, dtype=np.bool_)
        sentences: list[str] = []
        for side in (self._firsts, self._lasts):
            hashes = np.array(side, dtype=np.int64)
            values, counts = np.unique(hashes, return_counts=True)
            common = values[(counts > SHARE * total) & (values != 0)]
            found |= np.isin(hashes, common)
            sentences += [self._words.get(int(one), "") for one in common]
        return ordinals[found].tolist(), [sentence for sentence in sentences if sentence], total


def _first(answer: str) -> str:
    """The first sentence with its mark, where it begins with a letter and has 12 to 240 characters."""
    if not answer[0].isalpha():
        return ""
    found = _END.search(answer, 11, _SPAN)
    return answer[: found.start() + 1] if found and found.group()[0] != "\n" else ""


def _last(answer: str) -> str:
    """The last sentence, where it begins with a letter, has 12 to 240 characters, and is whole."""
    tail = answer[-_SPAN:].rstrip()
    if not tail or tail[-1] not in _MARKS:
        return ""
    find = tail.rfind
    start = max(find(". ", 0, -1), find("! ", 0, -1), find("? ", 0, -1), find(": ", 0, -1), find("\n", 0, -1)) + 1
    last = tail[start:].lstrip()
    return last if start and len(last) >= 12 and last[0].isalpha() else ""
