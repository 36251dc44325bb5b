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

COUNTED = ("prompt_tokens", "completion_tokens", "total_tokens")
Events = AsyncIterator[tuple[int, Event]]


def model_object(model: NamedModel) -> dict[str, Any]:
    """A model as GET /v1/models lists it; an adapter also names the base model below it."""
    told: dict[str, Any] = {"id": model.name, "object": "model", "created": model.created, "owned_by": model.owned_by}
    return told | ({"parent": model.parent} if model.parent else {})


@dataclass
class Usage:
    """Tokens of all choices: what was asked is read once, however many answers there are."""

    asked: int = 0
    answered: int = 0

    def count(self, told: dict[str, Any] | None) -> None:
        """Take what one choice used."""
        told = told or {}
        self.asked = max(self.asked, int(told.get("prompt_tokens") or 0))
        self.answered += int(told.get("completion_tokens") or 0)

    def told(self) -> dict[str, int]:
        """The three numbers."""
        return dict(zip(COUNTED, (self.asked, self.answered, self.asked + self.answered), strict=True))


@dataclass
class Telling:
    """One answer of `n` choices on its way to the client. `model` is the name that it asked for."""

    model: str
    n: int
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex[:24]}")
    created: int = field(default_factory=lambda: int(time.time()))
    usage: Usage = field(default_factory=Usage)

    def head(self, kind: str, event: Event) -> dict[str, Any]:
        """What every piece begins with. The fingerprint is the engine's: the hash of the prompt that it read."""
        told = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return told | {"system_fingerprint": event.get("system_fingerprint")}

    async def pieces(self, events: Events, with_usage: bool) -> AsyncIterator[str]:
        """The answer as server-sent events; a fault on the way is the last of them."""
        kind, last = "chat.completion.chunk", Event()
        blank = {"usage": None} if with_usage else {}
        try:
            async for number, event in events:
                if not event:
                    yield ": still here\n\n"
                    continue
                last = event
                self.usage.count(event.get("usage"))
                for choice in event["choices"]:
                    kept = {"index": number, "delta": choice["delta"], "logprobs": choice.get("logprobs")}
                    kept["finish_reason"] = choice.get("finish_reason")
                    yield sse(self.head(kind, event) | {"choices": [kept]} | blank)
            if with_usage:
                yield sse(self.head(kind, last) | {"choices": [], "usage": self.usage.told()})
            yield "data: [DONE]\n\n"
        except StudioError as error:
            yield sse(body_of(error))

    async def whole(self, events: Events) -> dict[str, Any]:
        """The answer at once. Raises what went wrong on the way."""
        choices = [Choice(number) for number in range(self.n)]
        last = Event()
        async for number, event in events:
            if event:
                last = event
                self.usage.count(event.get("usage"))
                for choice in event["choices"]:
                    choices[number].take(choice)
        told = {"choices": [choice.told() for choice in choices], "usage": self.usage.told()}
        return self.head("chat.completion", last) | told


@dataclass
class Choice:
    """One choice, put together from its pieces."""

    index: int
    message: dict[str, Any] = field(default_factory=lambda: {"role": "assistant", "content": ""})
    logprobs: list[Any] = field(default_factory=list)
    has_logprobs: bool = False
    reason: str | None = None

    def take(self, piece: dict[str, Any]) -> None:
        """Add a piece: texts and lists are continued."""
        for name, value in piece["delta"].items():
            if name != "role" and value:
                before = self.message.get(name)
                self.message[name] = before + value if before else value
        if piece.get("logprobs"):
            self.has_logprobs = True
            self.logprobs += piece["logprobs"].get("content") or []
        self.reason = piece.get("finish_reason") or self.reason

    def told(self) -> dict[str, Any]:
        """The choice as it stands in the answer."""
        logprobs = {"content": self.logprobs, "refusal": None} if self.has_logprobs else None
        return {"index": self.index, "message": self.message, "logprobs": logprobs, "finish_reason": self.reason}


def sse(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
