"""Calls of tools as models write them: <tool_call>{"name": ..., "arguments": {...}}</tool_call>."""

import json
from contextlib import suppress
from typing import Any

OPENS, CLOSES = "<tool_call>", "</tool_call>"


def call_in(text: str) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of the call that stands between the marks; None where it is none."""
    try:
        call = json.loads(text)
        name, arguments = call["name"], arguments_of(call.get("arguments", call.get("parameters")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return (name, arguments) if isinstance(name, str) and isinstance(arguments, dict) else None


def arguments_of(given: Any) -> Any:
    """Arguments as an object, where they are one or its JSON; none are an empty one. Else as they came."""
    if isinstance(given, str):
        with suppress(ValueError, RecursionError):
            return found if isinstance(found := json.loads(given), dict) else given
    return {} if given is None else given


def begun(text: str, mark: str) -> int:
    """How many of the last characters of `text` may be the beginning of `mark`."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:size])), 0)
