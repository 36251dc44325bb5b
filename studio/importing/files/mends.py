"""Broken JSON read with good will: only marks are mended, never words.

Known: commas before a closing bracket and after the value, single quotes and other Python literals, names without
quotes, NaN and the like, missing closing brackets at the end. A text that is cut inside a string stays broken.
"""

import re
from typing import Any

from studio.importing.files.json_text import number, whole

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+')
    |(?P<number>-?\d+(?P<point>\.\d+)?(?P<power>[eE][+-]?\d+)?(?![\w.]))
    |(?P<word>-?[A-Za-z_$][\w$]*)
    |(?P<mark>[\[\]{}:,])
    )\s*""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""}
_WORDS = {
    "true": True, "True": True, "false": False, "False": False, "null": None, "None": None, "undefined": None,
    "nan": None, "NaN": None, "Infinity": None, "-Infinity": None, "inf": None, "-inf": None,
}  # fmt: skip
_CLOSES = {"{": "}", "[": "]"}
LONGEST = 1_000_000


class _Beyond(Exception):
    """No mend that leaves the words alone."""


def mend_json(text: str, levels: int) -> Any:
    """The value that a broken JSON text must have meant. Raises `ValueError` where there is no telling."""
    if len(text) > LONGEST:
        raise ValueError("too long")
    try:
        return _Reading(text.strip().strip("\ufeff"), levels).whole()
    except (_Beyond, OverflowError) as error:
        raise ValueError("beyond mending") from error


class _Reading:
    def __init__(self, text: str, levels: int) -> None:
        self._text, self._at, self._levels = text, 0, levels
        self._found: re.Match[str] | None = None

    def whole(self) -> Any:
        """The one value, with at most a comma behind it."""
        value = self._value(0)
        if self._peek() == ",":
            self._next()
        if self._at < len(self._text):
            raise _Beyond
        return value

    def _peek(self) -> str:
        """The next mark; empty at the end and before anything else."""
        found = _TOKEN.match(self._text, self._at)
        return (found["mark"] or "") if found else ""

    def _next(self) -> re.Match[str]:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise _Beyond
        self._at = found.end()
        return found

    @property
    def _ended(self) -> bool:
        return self._at >= len(self._text)

    def _value(self, depth: int) -> Any:
        found = self._next()
        if found["string"]:
            return _unquoted(found["string"])
        if found["number"]:
            return number(found["number"]) if found["point"] or found["power"] else whole(found["number"])
        if found["word"]:
            if found["word"] not in _WORDS:
                raise _Beyond
            return _WORDS[found["word"]]
        if found["mark"] not in _CLOSES or depth >= self._levels:
            raise _Beyond
        return self._object(depth) if found["mark"] == "{" else self._list(depth)

    def _object(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not self._closed("}"):
            key = self._next()
            name = _unquoted(key["string"]) if key["string"] else key["word"]
            if name is None or self._next()["mark"] != ":":
                raise _Beyond
            made[name] = self._value(depth + 1)
            self._comma("}")
        return made

    def _list(self, depth: int) -> list[Any]:
        made = []
        while not self._closed("]"):
            made.append(self._value(depth + 1))
            self._comma("]")
        return made

    def _closed(self, bracket: str) -> bool:
        """Whether the list or object ends here; the end of the text closes all."""
        if self._ended:
            return True
        if self._peek() != bracket:
            return False
        self._next()
        return True

    def _comma(self, bracket: str) -> None:
        mark = self._peek()
        if mark == ",":
            self._next()
        elif mark != bracket and not self._ended:
            raise _Beyond


def _unquoted(string: str) -> str:
    return _ESCAPE.sub(_escaped, string[1:-1])


def _escaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        try:
            return chr(int(code[1:], 16))
        except ValueError as error:
            raise _Beyond from error
    return _ESCAPES.get(code, code)
