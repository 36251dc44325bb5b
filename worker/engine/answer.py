"""One answer on its way from the decoding thread to its client."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from studio.core.errors import StudioError
from worker.engine.text import TextStream

ALIVE_S = 5.0
"""A client that waits hears a comment this often, so that it can tell a long prompt from a dead process."""


@dataclass(frozen=True)
class Said:
    """A piece of the answer. The last one has a `reason` or an `error`; an empty one in between says "still here"."""

    text: str = ""
    reason: str = ""
    error: StudioError | None = None


@dataclass(eq=False)
class Answer:
    """The listener of a row: text pieces in, from the decoding thread; pieces out, in the server's event loop."""

    model: str
    prompt_tokens: int
    text: TextStream
    loop: asyncio.AbstractEventLoop
    asked: float = field(default_factory=time.monotonic)
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex[:24]}")
    created: int = field(default_factory=lambda: int(time.time()))
    tokens: int = 0
    first: float = 0.0
    last: float = 0.0

    def __post_init__(self) -> None:
        """The queue between the two threads."""
        self._pieces: asyncio.Queue[Said] = asyncio.Queue()

    def token(self, token: int) -> bool:
        """Take one token; true at a stop string."""
        self.tokens += 1
        self.last = time.monotonic()
        self.first = self.first or self.last
        piece = self.text.push(token)
        if piece:
            self._tell(Said(piece))
        return self.text.stopped

    def end(self, reason: str) -> None:
        """The row is over."""
        self._tell(Said(self.text.finish(), reason))

    def fail(self, error: StudioError) -> None:
        """The row can not be answered."""
        self._tell(Said(error=error))

    def _tell(self, said: Said) -> None:
        if not self.loop.is_closed():  # a process on its way out has no clients left
            self.loop.call_soon_threadsafe(self._pieces.put_nowait, said)

    async def pieces(self) -> AsyncIterator[Said]:
        """Every piece up to the last."""
        while True:
            try:
                said = await asyncio.wait_for(self._pieces.get(), ALIVE_S)
            except TimeoutError:
                said = Said()
            yield said
            if said.reason or said.error:
                return

    def chunk(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        """A chat.completion.chunk; the last one, with a reason, carries usage and timings."""
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        chunk = self._head("chat.completion.chunk") | {"choices": [choice]}
        return chunk | self.figures() if reason else chunk

    def whole(self, text: str, reason: str) -> dict[str, Any]:
        """The chat.completion of an answer that was not streamed."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        return self._head("chat.completion") | {"choices": [choice]} | self.figures()

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def figures(self) -> dict[str, Any]:
        """Tokens used, seconds to the first token, and tokens per second after it (null below two tokens)."""
        seconds = self.last - self.first
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
        }
        timings = {
            "first_token_s": round(self.first - self.asked, 4) if self.first else None,
            "tokens_per_s": round((self.tokens - 1) / seconds, 2) if seconds > 0 else None,
        }
        return {"usage": usage, "timings": timings}
