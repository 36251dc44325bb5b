"""Calls of tools in the text of an answer, as OpenAI's clients read them. What only looks like one stays text."""

import json
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from studio.api.relay import Event
from studio.core.calls import CLOSES, OPENS, begun, call_in

Delta = dict[str, Any]


async def with_calls(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The events, each call in them as a `tool_calls` of its own, and an answer that ends after one with its reason.

    A piece that holds text and a call becomes several events: clients look at the first choice of each.
    """
    readings: dict[int, Reading] = {}
    async for event in events:
        if not event.get("choices"):
            yield event
        for choice in event.get("choices") or ():
            for piece in readings.setdefault(choice["index"], Reading()).choices(choice):
                yield {**event, "choices": [piece]}


class Reading:
    """One choice as it comes."""

    def __init__(self) -> None:
        """Nothing of it was read yet."""
        self._held, self._count, self._is_after_call = "", 0, False

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
        """What is now certain to be text, or a whole call. Blanks around calls are no text."""
        self._held += text
        found: list[Delta] = []
        while (at := self._held.find(OPENS)) >= 0:
            end = self._held.find(CLOSES, at)
            if end < 0 and not over:
                break
            after = end + len(CLOSES) if end >= 0 else len(self._held)
            call = self._call(self._held[at + len(OPENS) : end]) if end >= 0 else None
            found += self._text(self._held[:at].rstrip() if call else self._held[:after])
            found += [{"tool_calls": [call]}] if call else []
            self._held, self._is_after_call = self._held[after:], self._is_after_call or call is not None
        certain = self._held[:at].rstrip() if at >= 0 else self._held if over else _certain(self._held)
        self._held = self._held[len(certain) :]
        return found + self._text(certain)

    def _text(self, text: str) -> list[Delta]:
        if self._is_after_call:
            text = text.lstrip()
        self._is_after_call = self._is_after_call and not text
        return [{"content": text}] if text else []

    def _call(self, text: str) -> dict[str, Any] | None:
        """A call in OpenAI's shape, its arguments as JSON; None where it is none."""
        call = call_in(text)
        if call is None:
            return None
        self._count += 1
        mark = {"index": self._count - 1, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function"}
        return mark | {"function": {"name": call[0], "arguments": json.dumps(call[1], ensure_ascii=False)}}


def _certain(text: str) -> str:
    """What surely stands before no call: the last characters, with the blanks before them, may be its beginning."""
    return text[: len(text) - begun(text, OPENS)].rstrip()
