"""The data doctor: looks at each example as it is read and says at the end what is worth a look.

Bounded: a few numbers an example; texts only of the first half million (near duplicates) and of a sample (languages).
Values that look secret or personal are counted by sort, never kept, never logged.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.examples import Example, as_json
from studio.importing.doctor.language import Languages
from studio.importing.doctor.near import MOST_EXAMPLES, NearDuplicates
from studio.importing.doctor.phrases import Sentences
from studio.importing.doctor.private import sorts_in
from studio.importing.doctor.telltale import boilerplate_in, opening_of, placeholders_in, refuses
from studio.importing.doctor.turns import disorder

_PAIRS = 20
_LONGEST_COUNTED = 100_000
_FEW, _TOO_FEW, _USUAL, _TIMES = 3, 12, 20, 10
_USUALLY_SHORT = 0.25
_NO_ANSWER = -1


@dataclass(frozen=True)
class Finding:
    """What was found of one kind: `ordinals` count from 0 in order of `add`, sorted; `facts` can be JSON."""

    kind: str
    ordinals: NDArray[np.int64]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Noted:
    """Examples of one kind, and how often which sort was seen."""

    ordinals: "array[int]" = field(default_factory=lambda: array("q"))
    sorts: Counter[str] = field(default_factory=Counter)

    def note(self, ordinal: int, sorts: Counter[str]) -> None:
        """One example, and what was seen in it."""
        self.ordinals.append(ordinal)
        self.sorts.update(sorts)


@dataclass(frozen=True)
class _Sides:
    """The texts of an example by who says them, and its longest answer (-1: length says nothing)."""

    asked: list[str]
    said: list[str]
    aside: list[str]
    answers: list[str]
    longest: int

    @classmethod
    def of(cls, example: Example) -> "_Sides":
        """Part an example. A call of a tool is said, too; but it is no answer, and neither is JSON a short one."""
        asked, said, aside, answers, counts = list[str](), list[str](), list[str](), list[str](), True
        for message in example.messages:
            role, text = message.get("role"), message.get("content")
            text = text if isinstance(text, str) else ""
            if role == "assistant":
                said.append(text)
                calls = message.get("tool_calls")
                if calls:
                    said.append(as_json(calls))
                if text:
                    answers.append(text)
                counts = counts and not calls and text[:1] not in ("{", "[")
            else:
                (asked if role == "user" else aside).append(text)
        aside += [str(message.get("content") or "") for message in example.rejected or ()]
        if not example.messages:
            said = [example.text]
        longest = max(map(len, answers)) if answers and counts else _NO_ANSWER
        return cls(asked, said, aside, answers, longest)


class Doctor:
    """Takes every example once; `finish` says what was found, `groups` which examples belong together."""

    def __init__(self) -> None:
        self._rows, self._hashes = array("q"), array("q")
        self._eval = bytearray()
        self._splits: set[str | None] = set()
        self._lengths, self._usual = array("i"), array("q", bytes(8 * (_LONGEST_COUNTED + 1)))
        self._noted: dict[str, _Noted] = {}
        self._distinct: set[int] = set()
        self._near, self._languages, self._sentences = NearDuplicates(), Languages(), Sentences()
        self._groups: NDArray[np.int64] | None = None

    def add(self, number: int, split: str | None, example: Example, text: str) -> None:
        """Look at one example: its row's number, its part, and its JSON `text` as it is kept."""
        ordinal, key = len(self._rows), hash(text)
        self._rows.append(number)
        self._hashes.append(key)
        self._eval.append(split == "eval")
        self._splits.add(split)
        sides = _Sides.of(example)
        self._lengths.append(self._measure(sides))
        self._compare(ordinal, key, sides)
        self._search(ordinal, sides)
        if example.messages:
            self._listen(ordinal, example, sides)

    def _measure(self, sides: _Sides) -> int:
        for answer in sides.answers:
            self._usual[min(len(answer), _LONGEST_COUNTED)] += 1
        return min(sides.longest, _LONGEST_COUNTED)

    def _compare(self, ordinal: int, key: int, sides: _Sides) -> None:
        """Near duplicates and languages: only of examples that were not there before."""
        if key in self._distinct:
            return
        if len(self._distinct) < MOST_EXAMPLES:
            self._distinct.add(key)
        asked, said = "\n".join(sides.asked), "\n".join(sides.said)
        self._near.add(ordinal, asked, said)
        self._languages.add(ordinal, asked, said)

    def _search(self, ordinal: int, sides: _Sides) -> None:
        """Secrets, personal data and placeholders anywhere in the example."""
        for kind, sorts in sorts_in("\n".join((*sides.asked, *sides.said, *sides.aside))).items():
            self._note(kind, ordinal, sorts)
        if sides.answers:
            places = placeholders_in((*sides.asked, *sides.answers, *sides.aside))
            if places:
                self._note("placeholder", ordinal, Counter(places=places))

    def _listen(self, ordinal: int, example: Example, sides: _Sides) -> None:
        """Phrases of the answers, and the order of the turns."""
        wrong = disorder(example.messages)
        if wrong:
            self._note("role_order", ordinal, Counter({wrong: 1}))
        for answer in sides.answers:
            opening = opening_of(answer)
            if refuses(opening):
                self._note("refusal", ordinal, Counter(answers=1))
            else:
                phrase = boilerplate_in(answer, opening)
                if phrase:
                    self._note("boilerplate", ordinal, Counter({phrase: 1}))
            self._sentences.add(ordinal, answer)

    def _note(self, kind: str, ordinal: int, sorts: Counter[str]) -> None:
        self._noted.setdefault(kind, _Noted()).note(ordinal, sorts)

    def groups(self) -> NDArray[np.int64]:
        """One number an example, in order of `add`: equal and nearly equal ones share it. After `finish`."""
        if self._groups is None:
            self.finish()
        assert self._groups is not None
        return self._groups

    def finish(self) -> list[Finding]:
        """All findings; kinds of which there is nothing are left out."""
        self._distinct = set()
        near_pairs = self._near.pairs()  # first: its texts are gone before the large columns are sorted
        hashes = np.frombuffer(self._hashes, dtype=np.int64) if self._hashes else np.empty(0, dtype=np.int64)
        firsts = _firsts(hashes) if len(hashes) else hashes
        self._groups = _grouped(firsts, near_pairs)
        found = [self._duplicates(firsts), self._nearly(near_pairs), self._leaks(), self._short()]
        found += [self._told(kind, noted) for kind, noted in self._noted.items() if kind != "boilerplate"]
        found += [self._stock_phrases(), self._mix()]
        return [finding for finding in found if len(finding.ordinals)]

    def _duplicates(self, firsts: NDArray[np.int64]) -> Finding:
        later = np.flatnonzero(firsts != np.arange(len(firsts)))
        return Finding("duplicate", later, {"pairs": self._pairs(firsts[later[:_PAIRS]], later[:_PAIRS])})

    def _nearly(self, pairs: list[tuple[int, int]]) -> Finding:
        both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        facts: dict[str, Any] = {"pairs": self._pairs(both[:_PAIRS, 0], both[:_PAIRS, 1])}
        if self._near.partly:
            facts["looked_at"] = self._near.looked_at
        return Finding("near_duplicate", np.unique(both[:, 1]), facts)

    def _pairs(self, earlier: NDArray[np.int64], later: NDArray[np.int64]) -> list[list[int]]:
        """Pairs of places as pairs of row numbers."""
        return [[self._rows[a], self._rows[b]] for a, b in zip(earlier.tolist(), later.tolist(), strict=True)]

    def _leaks(self) -> Finding:
        """Examples to learn that stand in the part to check, too."""
        held = np.frombuffer(bytes(self._eval), dtype=np.bool_)
        if self._groups is None or "eval" not in self._splits or len(self._splits) < 2:
            return Finding("leakage", np.empty(0, dtype=np.int64))
        leaked = np.flatnonzero(np.isin(self._groups, self._groups[held]) & ~held)
        wanted = set(self._groups[leaked[:_PAIRS]].tolist())
        checked = {int(self._groups[i]): int(i) for i in np.flatnonzero(held)[::-1] if int(self._groups[i]) in wanted}
        twins = np.array([checked[int(self._groups[i])] for i in leaked[:_PAIRS]], dtype=np.int64)
        return Finding("leakage", leaked, {"pairs": self._pairs(leaked[:_PAIRS], twins)})

    def _short(self) -> Finding:
        """Answers far below the usual length; where many are that short it is the data's nature."""
        lengths, usual = np.frombuffer(self._lengths, dtype=np.int32), np.cumsum(self._usual)
        median = int(np.searchsorted(usual, (int(usual[-1]) + 1) // 2)) if usual[-1] else 0
        limit = max(_FEW if median >= _TOO_FEW else -1, (median - 1) // _TIMES if median >= _USUAL else -1)
        short = np.flatnonzero((lengths > _NO_ANSWER) & (lengths <= limit))
        if len(short) > max(_USUAL, _USUALLY_SHORT * len(lengths)):
            short = short[:0]
        return Finding("short_answer", short, {"at_most": int(lengths[short].max(initial=0)), "median": median})

    def _told(self, kind: str, noted: _Noted) -> Finding:
        return Finding(
            kind, np.unique(np.array(noted.ordinals, dtype=np.int64)), {"sorts": dict(noted.sorts.most_common())}
        )

    def _stock_phrases(self) -> Finding:
        noted = self._noted.get("boilerplate", _Noted())
        shared, sentences, looked_at = self._sentences.shared()
        facts: dict[str, Any] = {"sorts": dict(noted.sorts.most_common(_PAIRS))}
        if sentences:
            facts |= {"sentences": sentences, "looked_at": looked_at}
        return Finding("boilerplate", np.unique(np.array([*noted.ordinals, *shared], dtype=np.int64)), facts)

    def _mix(self) -> Finding:
        ordinals, facts = self._languages.strangers()
        return Finding("language_mix", np.array(ordinals, dtype=np.int64), facts)


def _firsts(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each place the first place with the same hash."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    opens = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    firsts = np.empty(len(hashes), dtype=np.int64)
    firsts[order] = order[np.flatnonzero(opens)[np.cumsum(opens) - 1]]
    return firsts


def _grouped(firsts: NDArray[np.int64], pairs: list[tuple[int, int]]) -> NDArray[np.int64]:
    """`firsts`, with the groups of each pair joined under the least number."""
    above: dict[int, int] = {}

    def top(one: int) -> int:
        while one in above:
            one = above[one]
        return one

    for a, b in pairs:
        low, high = sorted((top(int(firsts[a])), top(int(firsts[b]))))
        if low != high:
            above[high] = low
    if not above:
        return firsts.copy()
    tops = np.array([top(one) for one in above], dtype=np.int64)
    renamed = np.arange(len(firsts), dtype=np.int64)
    renamed[list(above)] = tops
    return renamed[firsts]
