"""Calls of tools in the text of an answer, as OpenAI's clients read them.

Models write a call as <tool_call>{"name": ..., "arguments": {...}}</tool_call>. What only looks like one stays text.
"""

import json
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from studio.api.relay import Event
from studio.core.conversations import calls_of
from studio.core.formats import Unusable

OPENS, CLOSES = "<tool_call>", "</tool_call>"
Delta = dict[str, Any]


async def with_calls(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The events, each call in them as a `tool_calls` of its own, and an answer that ends after one with its reason."""
    readings: dict[int, Reading] = {}
    async for event in events:
        if not event.get("choices"):
            yield event
            continue
        found = []
        for choice in event["choices"]:
            found += readings.setdefault(choice["index"], Reading()).choices(choice)
        yield {**event, "choices": found}


class Reading:
    """One choice as it comes."""

    def __init__(self) -> None:
        """Nothing of it was read yet."""
        self._held, self._count = "", 0

    def choices(self, choice: dict[str, Any]) -> list[dict[str, Any]]:
        """A piece of the choice as one or several; the first keeps its chances, the last its reason to end."""
        reason, delta = choice.get("finish_reason"), choice["delta"]
        deltas = self.take(delta.get("content") or "", over=bool(reason)) or [dict.fromkeys({"content"} & {*delta}, "")]
        deltas[0] = {**{name: value for name, value in delta.items() if name != "content"}, **deltas[0]}
        told = [{**choice, "delta": one, "logprobs": None, "finish_reason": None} for one in deltas]
        told[0]["logprobs"] = choice.get("logprobs")
        told[-1]["finish_reason"] = "tool_calls" if reason == "stop" and self._count else reason
        return told

    def take(self, text: str, over: bool) -> list[Delta]:
        """What is now certain to be text, or a whole call."""
        self._held += text
        found: list[Delta] = []
        while (at := self._held.find(OPENS)) >= 0:
            end = self._held.find(CLOSES, at)
            if end < 0 and not over:
                break
            after = end + len(CLOSES) if end >= 0 else len(self._held)
            call = self._call(self._held[at + len(OPENS) : end]) if end >= 0 else None
            found += _text(self._held[:at].rstrip() if call else self._held[:after])
            found += [{"tool_calls": [call]}] if call else []
            self._held = self._held[after:].lstrip() if call else self._held[after:]
        certain = len(self._held) if over else at if at >= 0 else len(self._held) - _begun(self._held)
        found += _text(self._held[:certain])
        self._held = self._held[certain:]
        return found

    def _call(self, text: str) -> dict[str, Any] | None:
        """A call in OpenAI's shape, its arguments as JSON; None where it is none."""
        try:
            (call,) = calls_of(json.loads(text))
            arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
        except (Unusable, ValueError, TypeError, RecursionError):
            return None
        self._count += 1
        function = {"name": call["function"]["name"], "arguments": arguments}
        return {
            "index": self._count - 1,
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": function,
        }


def _text(text: str) -> list[Delta]:
    return [{"content": text}] if text else []


def _begun(text: str) -> int:
    """How many of the last characters may be the beginning of a call."""
    return next((size for size in range(min(len(OPENS) - 1, len(text)), 0, -1) if text.endswith(OPENS[:size])), 0)
