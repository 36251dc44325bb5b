"""JSON text taken value by value, in bounded memory.

The text moves through a window: a value that lies whole in it is parsed there at full speed, the few others are walked
through mark by mark, so that memory is bounded by the longest value.
"""

import re
from collections.abc import Iterator
from typing import Any, TextIO

from studio.core.errors import Refused
from studio.importing.files.charset import size_words
from studio.importing.files.json_text import DECODER, deep, too_deep

LONGEST = 50 * 1024 * 1024
DEEPEST = 64
# Names under which the rows of an object usually stand.
USUAL = ("data", "rows", "examples", "items", "records", "samples")
_CHUNK = 1 << 20
_SPACE = re.compile(r"\s*")
_MARK = re.compile(r'["\[\]{},]')
_IN_STRING = re.compile(r'["\\]')
_ENDS = frozenset(",]}")
# Stands for a value of which only the text is there.
UNPARSED = object()


class Window:
    """JSON text taken value by value. Raises `Refused` where one is longer than `limit` or deeper than `levels`."""

    def __init__(self, stream: TextIO, name: str, limit: int, levels: int) -> None:
        self._stream, self._name, self._limit, self._levels = stream, name, limit, levels
        self._text, self._at, self._lines = "", 0, 1
        self.cut = False

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def step(self) -> None:
        """Past the character that was peeked at."""
        self._at += 1

    def key(self) -> str | None:
        """The name before a colon; None where there is none."""
        while self.peek() == '"':
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    return None
                continue
            self._at = end
            if self.peek() != ":":
                return None
            self.step()
            return str(value)
        return None

    def value(self, loose: bool = False) -> tuple[Any, str]:
        """The next value and its text; `UNPARSED` with its text where it has to be looked at more closely.

        It goes to a comma or the end of what it stands in, or where it is `loose`, to its own last bracket.
        """
        self.peek()
        try:
            value, end = DECODER.raw_decode(self._text, self._at)
        except (ValueError, RecursionError):
            return UNPARSED, self._walked(loose)
        after = _SPACE.match(self._text, end).end()  # type: ignore[union-attr]
        text = self._text[self._at : end]
        if not (loose or self._text[after : after + 1] in _ENDS) or too_deep(text, self._levels):
            return UNPARSED, self._walked(loose)
        self._at = after
        return value, text

    def _walked(self, loose: bool) -> str:
        """The text up to where the value ends; at the end of the file `cut` is set."""
        at, depth, quoted = self._at, 0, False
        while True:
            found = (_IN_STRING if quoted else _MARK).search(self._text, at)
            if found is None:
                at = len(self._text) - self._at
                if not self._more():
                    self.cut = True
                    return self._taken(len(self._text))
                at += self._at
                continue
            at, mark = found.end(), found[0]
            if mark == '"':
                quoted = not quoted
            elif mark == "\\":
                at += 1
            elif depth == 0 and mark in ",]}":
                return self._taken(at - 1)
            else:
                depth = self._depth(depth, mark, at)
                if loose and not depth:
                    return self._taken(at)

    def _depth(self, depth: int, mark: str, at: int) -> int:
        depth += (mark in "[{") - (mark in "]}")
        if depth > self._levels:
            raise deep(self._name, self._levels, self._lines + self._text.count("\n", 0, at))
        return depth

    def _taken(self, end: int) -> str:
        text, self._at = self._text[self._at : end], end
        return text

    def _more(self) -> bool:
        if len(self._text) - self._at > self._limit:
            raise Refused(f"{self._name} has a row longer than {size_words(self._limit)}.", "Split it.")
        chunk = self._stream.read(_CHUNK)
        self._lines += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)

    def items(self) -> Iterator[tuple[Any, str]]:
        """The values of the list whose bracket was stepped past."""
        while (mark := self.peek()) not in ("]", ""):
            if mark == ",":
                self.step()
                continue
            if mark == "}":
                self.step()  # a stray bracket
                continue
            yield self.value()
        self.cut = self.cut or mark == ""
        self.step()

    def enter(self, key: str) -> bool:
        """Into the list under `key` of the object whose bracket was stepped past; False where there is none."""
        while (name := self.key()) is not None:
            if name == key and self.peek() == "[":
                self.step()
                return True
            self.skip()
        return False

    def skip(self) -> None:
        """Past a value and the comma behind it."""
        self.value()
        if self.peek() == ",":
            self.step()


def no_list(name: str) -> Refused:
    """What a person is told of JSON without rows."""
    return Refused(f"{name} holds no list of rows.", 'Save it as a list, or as {"data": [...]}.')


def cut(name: str, number: int) -> Refused:
    """What a person is told of JSON that ends in row `number`."""
    return Refused(f"{name} ends in the middle of row {number:,}: it is damaged or cut.", "Save it again, whole.")


def items(text: TextIO, name: str) -> Iterator[str]:
    """The items of a JSON list, or of the list called `data` and the like in an object, each as text.

    Raises `Refused` where there is none, and where the text ends before it.
    """
    window = Window(text, name, LONGEST, DEEPEST)
    listed = window.peek() == "["
    window.step()
    while not listed:
        key = window.key()
        if key is None:
            raise no_list(name)
        listed = key.lower() in USUAL and window.peek() == "["
        window.step() if listed else window.skip()
    number = 0
    for number, (_, item) in enumerate(window.items(), 1):
        if window.cut:
            raise cut(name, number)
        yield item
    if window.cut:
        raise cut(name, number + 1)
