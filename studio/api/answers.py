"""What a client is told: models, an answer as a whole, and an answer in pieces; all in OpenAI's shape."""

import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from studio.api.errors import body_of
from studio.api.relay import Event
from studio.core.errors import StudioError
from studio.core.use_cases.named_models import NamedModel

TOLD = ("index", "delta", "logprobs", "finish_reason")
COUNTED = ("prompt_tokens", "completion_tokens", "total_tokens")
Events = AsyncIterator[Event]


def model_object(model: NamedModel) -> dict[str, Any]:
    """A model as GET /v1/models lists it; an adapter also names the base model below it."""
    told: dict[str, Any] = {"id": model.name, "object": "model", "created": model.created, "owned_by": model.owned_by}
    return told | ({"parent": model.parent} if model.parent else {})


@dataclass
class Telling:
    """One answer of `n` choices on its way to the client. `model` is the name that it asked for."""

    model: str
    n: int
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex[:24]}")
    created: int = field(default_factory=lambda: int(time.time()))
    usage: dict[str, int] = field(default_factory=dict)

    def head(self, kind: str, event: Event) -> dict[str, Any]:
        """What every piece begins with. The fingerprint is the engine's: the hash of the prompt that it read."""
        told = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return told | {"system_fingerprint": event.get("system_fingerprint")}

    def noted(self, event: Event) -> Event:
        """The event; of what was used the newest figures count, they are of all choices so far."""
        if event.get("usage"):
            self.usage = {name: int(event["usage"].get(name) or 0) for name in COUNTED}
        return event

    async def pieces(self, events: Events, with_usage: bool) -> AsyncIterator[str]:
        """The answer as server-sent events; a fault on the way is the last of them."""
        kind, last = "chat.completion.chunk", Event()
        blank = {"usage": None} if with_usage else {}
        try:
            async for event in events:
                if not event:
                    yield ": still here\n\n"
                    continue
                last = self.noted(event)
                if event["choices"]:
                    kept = [{name: choice.get(name) for name in TOLD} for choice in event["choices"]]
                    yield sse(self.head(kind, event) | {"choices": kept} | blank)
            if with_usage:
                yield sse(self.head(kind, last) | {"choices": [], "usage": self.usage})
            yield "data: [DONE]\n\n"
        except StudioError as error:
            yield sse(body_of(error))

    async def whole(self, events: Events) -> dict[str, Any]:
        """The answer at once. Raises what went wrong on the way."""
        choices = [Choice(number) for number in range(self.n)]
        last = Event()
        async for event in events:
            if event:
                last = self.noted(event)
                for choice in event["choices"]:
                    choices[choice["index"]].take(choice)
        told = {"choices": [choice.told() for choice in choices], "usage": self.usage}
        return self.head("chat.completion", last) | told


@dataclass
class Choice:
    """One choice, put together from its pieces."""

    index: int
    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": ""})
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    logprobs: list[Any] = field(default_factory=list)
    has_logprobs: bool = False
    reason: str | None = None

    def take(self, piece: dict[str, Any]) -> None:
        """Add a piece: texts and lists are continued."""
        for name, value in piece["delta"].items():
            if name == "tool_calls":
                self.call(value or [])
            elif name != "role" and value:
                before = self.message.get(name)
                self.message[name] = before + value if before else value
        if piece.get("logprobs"):
            self.has_logprobs = True
            self.logprobs += piece["logprobs"].get("content") or []
        self.reason = piece.get("finish_reason") or self.reason

    def call(self, pieces: list[dict[str, Any]]) -> None:
        """Add pieces of calls; another server tells the arguments of one bit by bit."""
        for piece in pieces:
            call = self.calls.setdefault(
                piece["index"], {"type": "function", "function": {"name": "", "arguments": ""}}
            )
            call |= {name: value for name, value in piece.items() if name in ("id", "type") and value}
            for name, value in (piece.get("function") or {}).items():
                call["function"][name] = call["function"].get(name, "") + (value or "")

    def told(self) -> dict[str, Any]:
        """The choice as it stands in the answer."""
        if self.calls:
            self.message |= {"content": self.message["content"] or None, "tool_calls": [*self.calls.values()]}
        logprobs = {"content": self.logprobs, "refusal": None} if self.has_logprobs else None
        return {"index": self.index, "message": self.message, "logprobs": logprobs, "finish_reason": self.reason}


def sse(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
