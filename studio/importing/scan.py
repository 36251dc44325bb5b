"""JSON text walked without parsing it: nesting is checked, large arrays are cut into items, in bounded memory.

The marks that matter are brackets, commas and quotes; everything between is skipped by a regular expression.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

from studio.core.errors import Refused

LONGEST = 50 * 1024 * 1024
DEEPEST = 64
_MARK = re.compile(r'["\[\]{},]')
_IN_STRING = re.compile(r'["\\]')
_LIST_NAME = re.compile(r'"(data|rows|examples)"\s*:\s*\Z')
_CHUNK = 1 << 20


class Reads(Protocol):
    """A text stream."""

    def read(self, size: int, /) -> str:
        """Up to `size` characters; empty at the end."""
        ...


class _Number(float):
    """A number with a point that prints as it was written: 12.50 stays 12.50."""

    __slots__ = ("written",)
    written: str

    def __str__(self) -> str:
        return self.written


def _as_written(text: str) -> _Number:
    number = _Number(text)
    number.written = text
    return number


def _whole(text: str) -> int | str:
    return int(text) if len(text) < 4000 else text  # Python refuses to parse longer ones


class Scanner:
    """Walks the marks of JSON text outside strings and keeps the depth. Raises `Refused` below 64 levels."""

    def __init__(self, text: Reads, name: str) -> None:
        """`name` is the file's, for the sentences."""
        self._text, self._name = text, name
        self._buffer, self._at, self._lines = "", 0, 1
        self._quoted = False
        self.depth = 0

    def marks(self) -> Iterator[str]:
        """Each bracket and comma in turn, after `depth` was set by it."""
        while True:
            found = (_IN_STRING if self._quoted else _MARK).search(self._buffer, self._at)
            if found is None:
                self._at = max(self._at, len(self._buffer))
                if not self._more():
                    return
                continue
            self._at, mark = found.end(), found[0]
            if mark == '"':
                self._quoted = not self._quoted
            elif mark == "\\":
                self._at += 1
            else:
                self._count(mark)
                yield mark

    def _count(self, mark: str) -> None:
        self.depth += (mark in "[{") - (mark in "]}")
        if self.depth > DEEPEST:
            line = self._lines + self._buffer.count("\n", 0, self._at)
            raise Refused(f"{self._name} is nested more than {DEEPEST} levels (line {line:,}).", "Make it flatter.")

    def _more(self) -> bool:
        if len(self._buffer) > LONGEST:
            raise Refused(f"{self._name} has a row longer than 50 MB.", "Split it.")
        chunk = self._text.read(_CHUNK)
        self._buffer += chunk
        return bool(chunk)

    def take(self) -> str:
        """The text before the last mark since the last take; it is let go of."""
        taken, self._lines = self._buffer[: self._at - 1], self._lines + self._buffer.count("\n", 0, self._at)
        self._buffer, self._at = self._buffer[self._at :], 0
        return taken


def items(text: Reads, name: str) -> Iterator[str]:
    """The items of a JSON array, or of the list called `data` in a JSON object, each as text."""
    scanner = Scanner(text, name)
    marks = scanner.marks()
    base = _find_list(scanner, marks, name)
    count = 0
    for mark in marks:
        if (scanner.depth == base and mark == ",") or scanner.depth < base:
            item = scanner.take()
            if item.strip():
                count += 1
                yield item
        if scanner.depth < base:
            return
    raise Refused(f"{name} ends in the middle of row {count + 1:,}: it is damaged or cut.", "Save it again, whole.")


def _find_list(scanner: Scanner, marks: Iterator[str], name: str) -> int:
    """Walk to the start of the list; its depth."""
    for mark in marks:
        before = scanner.take() if scanner.depth <= 2 else ""
        if mark == "[" and (scanner.depth == 1 or (scanner.depth == 2 and _LIST_NAME.search(before))):
            return scanner.depth
    raise Refused(f"{name} holds no list of rows.", 'Save it as a list, or as {"data": [...]}.')


def parse(text: str, name: str) -> Any:
    """`text` as JSON, checked for depth first. Raises `ValueError` where it is not JSON, `Refused` where too deep.

    Numbers print as they were written; NaN and infinity, which JSON does not know, become null.
    """
    if text.count("[") + text.count("{") > DEEPEST:
        for _ in Scanner(io.StringIO(text), name).marks():
            pass
    return json.loads(text, strict=False, parse_float=_as_written, parse_int=_whole, parse_constant=lambda _: None)
