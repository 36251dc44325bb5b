"""Examples that are nearly the same: MinHash over runs of eight bytes, in numpy; what agrees is compared in full.

Letters' case, blanks and punctuation do not count. Digits do: two sums of one wording are two examples. Runs that a
large part of the examples share (a template around each question) do not count either.
"""

from array import array
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

MOST_EXAMPLES = 500_000
MOST_BYTES = 192 << 20
LEAST_BYTES = 60
ALIKE = 0.85

_GRAM = 8
_LONGEST = 16_000
_DELETED = b" \t\n\r\x0b\x0c.,;:!?\"'`()[]{}-_#~"
_SMALL = bytes(ord(chr(b).lower()) if b < 128 else b for b in range(256))
_OPEN_MARKS = (
    "\u2019\u2018\u201c\u201d\u201e\u2013\u2014\u2026\u00a0\u3002\uff0c\uff01\uff1f\u3001\u00ab\u00bb\u00bf\u00a1"
)
_NO_DIGITS = bytes(sorted(set(range(256)) - set(b"0123456789+*/=<>^%")))
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_SAMPLED = np.uint64(61)  # one run of eight is hashed further: the upper three bits are zero
_STOP_BITS = 22
_SHARED_BY, _SHARED_LEAST, _SHARED_SAMPLE = 0.02, 12, 1_000
_TELLING = 40  # runs that are not shared, at least
_BANDS, _ROWS = 10, 3
_BLOCK = 1 << 19
_PROMISING = 0.5
_LEAST_SAMPLED = 4
_MOST_COMPARED = 50_000
_QUESTIONS, _ANSWERS = 0.5, 0.7  # how alike the two parts must be on their own
_OWN_ALIKE = 0.7
_PIECE, _PIECE_ALIKE = 24, 0.4  # a longer piece that is replaced is another question, not another wording


def folded(text: str) -> bytes:
    """A text as it is compared: ASCII small letters, no blanks, no punctuation; very long ones lose their middle."""
    if len(text) > _LONGEST:
        text = text[: _LONGEST // 2] + text[-_LONGEST // 2 :]
    if not text.isascii():
        text = text.casefold()
        for mark in _OPEN_MARKS:
            text = text.replace(mark, "")
    return text.encode("utf-8", "replace").translate(_SMALL, _DELETED)


class NearDuplicates:
    """Takes texts in order, at most `MOST_EXAMPLES` of them; `pairs` says which are nearly the same."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._starts = array("q")
        self._split = array("q")
        self._ordinals = array("q")
        self._digits = array("q")
        self.looked_at = 0
        self.partly = False

    def add(self, ordinal: int, asked: str, said: str) -> None:
        """One example: what is asked and what is answered."""
        if self.looked_at >= MOST_EXAMPLES or len(self._bytes) >= MOST_BYTES:
            self.partly = True
            return
        self.looked_at += 1
        if len(asked) + len(said) < LEAST_BYTES and asked.isascii() and said.isascii():
            return
        question, answer = folded(asked), folded(said)
        if len(question) + len(answer) < LEAST_BYTES:
            return
        self._starts.append(len(self._bytes))
        self._split.append(len(question))
        self._ordinals.append(ordinal)
        self._bytes += question
        self._bytes += answer
        digits = question.translate(None, _NO_DIGITS) + b"|" + answer.translate(None, _NO_DIGITS)
        self._digits.append(hash(digits))

    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of ordinals, the earlier first, of which the second is nearly the first; clears what was taken in."""
        if len(self._starts) < 2:
            return []
        texts = _Texts(self._bytes, self._starts, self._split, self._digits)
        ordinals = self._ordinals
        self._bytes, self._starts, self._split = bytearray(), array("q"), array("q")
        self._digits, self._ordinals = array("q"), array("q")
        found = texts.alike()
        self.partly |= texts.gave_up
        return [(ordinals[a], ordinals[b]) for a, b in found]


class _Texts:
    """Folded texts in one row of bytes."""

    def __init__(self, data: bytearray, starts: Sequence[int], split: Sequence[int], digits: Sequence[int]) -> None:
        self.starts = np.array([*starts, len(data)], dtype=np.int64)
        self.split = split
        self.digits = np.array(digits, dtype=np.int64).view(np.uint64)
        data += bytes(_GRAM)
        self.data = data
        self.gave_up = False
        self.shared = self._shared()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def grams(self, start: int, end: int) -> Hashes:
        """The hash of each run of eight bytes that begins in a span."""
        runs: Hashes = np.ndarray((end - start,), np.dtype("<u8"), self.data, offset=start, strides=(1,))
        hashes = runs * _SPREAD
        hashes ^= hashes >> np.uint64(32)
        hashes *= _SPREAD
        return hashes

    def text(self, one: int) -> bytes:
        """One text, folded."""
        return bytes(self.data[self.starts[one] : self.starts[one + 1]])

    def of(self, one: int) -> Hashes:
        """The runs of one text, in order."""
        start, end = int(self.starts[one]), int(self.starts[one + 1])
        return self.grams(start, max(start, end - _GRAM + 1))

    def _shared(self) -> NDArray[np.bool_]:
        """By some bits of a run's hash: whether a large part of the texts has it."""
        table = np.zeros(1 << _STOP_BITS, dtype=np.bool_)
        picked = np.unique(np.linspace(0, len(self) - 1, min(len(self), _SHARED_SAMPLE)).astype(np.int64))
        seen = np.concatenate([np.unique(_place(self.of(int(one)))) for one in picked])
        places, counts = np.unique(seen, return_counts=True)
        table[places[counts >= max(_SHARED_LEAST, _SHARED_BY * len(picked))]] = True
        return table

    def alike(self) -> list[tuple[int, int]]:
        """Pairs of texts that are nearly the same, the later second, in order of the later."""
        kept, sketches = self._sketches()
        found = [self._same_folded()]
        for band in range(0, len(sketches) if len(kept) > 1 else 0, _ROWS):
            key = self.digits[kept]
            for row in sketches[band : band + _ROWS]:
                key = (key ^ row) * _SPREAD
            found.append(_promising(_neighbours(key), sketches, kept))
        every = np.unique(np.concatenate(found), axis=0)
        return self._confirmed(every[np.lexsort((every[:, 0], every[:, 1]))])

    def _same_folded(self) -> Ints:
        """Pairs that differ in case, blanks or punctuation alone."""
        keys = np.array([hash(self.text(one)) for one in range(len(self))], dtype=np.int64).view(np.uint64)
        return _neighbours(keys ^ self.digits)

    def _sketches(self) -> tuple[Ints, list[NDArray[np.uint32]]]:
        """The texts with enough runs of their own, and for each permutation the least hash of each of them."""
        multipliers = np.random.default_rng(8).integers(1 << 62, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
        kept, least = list[Ints](), [list[NDArray[np.uint32]]() for _ in multipliers]
        for first, last in self._blocks():
            hashes, begins, texts = self._sampled(first, last)
            if len(texts):
                kept.append(texts)
                for column, multiplier in zip(least, multipliers, strict=True):
                    column.append(
                        np.minimum.reduceat(((hashes * multiplier) >> np.uint64(32)).astype(np.uint32), begins)
                    )
        if not kept:
            return np.empty(0, dtype=np.int64), []
        return np.concatenate(kept), [np.concatenate(column) for column in least]

    def _blocks(self) -> Iterator[tuple[int, int]]:
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.starts, self.starts[first] + _BLOCK))
            last = min(max(last, first + 1), len(self))
            yield first, last
            first = last

    def _sampled(self, first: int, last: int) -> tuple[Hashes, Ints, Ints]:
        """Of the texts `first` to before `last`: the sampled hashes, where each text's begin, and which these are."""
        start = int(self.starts[first])
        hashes = self.grams(start, int(self.starts[last]))
        ends = self.starts[first + 1 : last + 1] - start
        crossing = (ends[:, None] - np.arange(1, _GRAM)).ravel()
        keep = (hashes >> _SAMPLED) == 0
        keep[crossing[crossing >= 0]] = False
        at = np.flatnonzero(keep)
        at = at[~self.shared[_place(hashes[at])]]
        begins = np.searchsorted(at, self.starts[first : last + 1] - start)
        enough = np.flatnonzero(np.diff(begins) >= _LEAST_SAMPLED)
        counts = np.diff(begins)[enough]
        within = np.repeat(begins[enough] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return hashes[at[within]], np.cumsum(counts) - counts, enough + first

    def _confirmed(self, pairs: Ints) -> list[tuple[int, int]]:
        """Those of `pairs` that a full comparison confirms; a text that was found is not compared again."""
        found, compared, last = list[tuple[int, int]](), 0, -1
        for a, b in pairs.tolist():
            if b == last:
                continue
            if compared >= _MOST_COMPARED:
                self.gave_up = True
                break
            compared += 1
            if self._nearly(a, b):
                found.append((a, b))
                last = b
        return found

    def _nearly(self, a: int, b: int) -> bool:
        """Whether two texts are the same but for small changes."""
        first, second = self.text(a), self.text(b)
        if first == second:
            return True
        ours, theirs = self.of(a).tolist(), self.of(b).tolist()
        if not self._parts_agree((first, ours, self.split[a]), (second, theirs, self.split[b])):
            return False
        if _jaccard(set(ours), set(theirs)) < ALIKE:
            return False
        ours, theirs = self._own(ours), self._own(theirs)
        return min(len(ours), len(theirs)) >= _TELLING and _jaccard(set(ours), set(theirs)) >= _OWN_ALIKE

    def _own(self, runs: list[int]) -> list[int]:
        """The runs that are not shared by many texts."""
        hashes = np.array(runs, dtype=np.uint64)
        shared = self.shared[_place(hashes)]
        return hashes[~shared].tolist() if shared.any() else runs

    def _parts_agree(self, one: tuple[bytes, list[int], int], two: tuple[bytes, list[int], int]) -> bool:
        """Whether the questions are of one kind and the answers too: the same, or long and mostly the same.

        One passage with two questions, and one answer to two questions, are no near duplicates.
        """
        (first, ours, asked), (second, theirs, also_asked) = one, two
        if first[:asked] != second[:also_asked]:
            before = set(ours[: max(0, asked - _GRAM + 1)]), set(theirs[: max(0, also_asked - _GRAM + 1)])
            other = _rewritten(first[:asked], second[:also_asked])
            if other or not all(before) or _jaccard(*before) < _QUESTIONS:
                return False
        said, also_said = first[asked:], second[also_asked:]
        if said == also_said:
            return True
        if min(len(said), len(also_said)) < LEAST_BYTES:
            return False
        return not _rewritten(said, also_said) and _jaccard(set(ours[asked:]), set(theirs[also_asked:])) >= _ANSWERS


def _place(hashes: Hashes) -> Hashes:
    return (hashes >> np.uint64(20)) & np.uint64((1 << _STOP_BITS) - 1)


def _neighbours(keys: Hashes) -> Ints:
    """Pairs of places with one key: each with the one before it and with the first of its key."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    opens = np.concatenate(([True], ~same))
    first = order[np.flatnonzero(opens)[np.cumsum(opens) - 1]]
    later = order[1:][same]
    return np.concatenate([np.stack([earlier, later], axis=1) for earlier in (order[:-1][same], first[1:][same])])


def _promising(pairs: Ints, sketches: Sequence[NDArray[np.uint32]], kept: Ints) -> Ints:
    """The pairs of sketched texts whose sketches agree well enough to look closer."""
    agreeing = np.zeros(len(pairs), dtype=np.int64)
    for row in sketches:
        agreeing += row[pairs[:, 0]] == row[pairs[:, 1]]
    return kept[pairs[agreeing >= _PROMISING * len(sketches)]]


def _jaccard(ours: set[int], theirs: set[int]) -> float:
    both = len(ours & theirs)
    return both / (len(ours) + len(theirs) - both)


def _rewritten(one: bytes, two: bytes) -> bool:
    """Whether between the first difference and the last each text says something else: another question."""
    if one == two:
        return False
    start = _same(one, two)
    end = min(_same(one[::-1], two[::-1]), min(len(one), len(two)) - start)
    middles = one[start : len(one) - end], two[start : len(two) - end]
    if min(map(len, middles)) <= _PIECE:
        return False
    ours, theirs = ({text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)} for text in middles)
    return len(ours & theirs) < _PIECE_ALIKE * len(ours | theirs)


def _same(one: bytes, two: bytes) -> int:
    """How many bytes two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == two[low:middle] else (low, middle - 1)
    return low
