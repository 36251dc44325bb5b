"""One JSON value as Python: numbers print as they were written, nesting has a limit."""

import json
import re

from studio.core.errors import Refused

_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class _Number(float):
    """A number with a point that prints as it was written: 12.50 stays 12.50."""

    __slots__ = ("written",)
    written: str

    def __str__(self) -> str:
        return self.written


def number(text: str) -> float:
    """A number with a point that prints as `text`."""
    made = _Number(text)
    made.written = text
    return made


def whole(text: str) -> int | str:
    """A whole number; longer ones than Python parses stay text."""
    return int(text) if len(text) < 4000 else text


# NaN and infinity, which JSON does not know, become null.
DECODER = json.JSONDecoder(
    strict=False, parse_float=number, parse_int=whole, parse_constant=lambda _: None
)  # fmt: skip
decode = DECODER.decode


def too_deep(text: str, levels: int) -> bool:
    """Whether brackets outside of strings nest deeper than `levels`."""
    if text.count("[") + text.count("{") <= levels:
        return False
    depth = 0
    for mark in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if mark in "[{" else -1
        if depth > levels:
            return True
    return False


def deep(name: str, levels: int, line: int) -> Refused:
    """What a person is told of a file that nests too deep."""
    return Refused(f"{name} is nested more than {levels} levels (line {line:,}).", "Make it flatter.")
