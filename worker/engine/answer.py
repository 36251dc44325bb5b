"""One answer, or several to the same prompt, on the way from the decoding thread to the client."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.core.errors import StudioError
from worker.engine.row import Token
from worker.engine.text import TextStream

ALIVE_S = 5.0
"""A client that waits hears a comment this often, so that it can tell a long prompt from a dead process."""
Chances = list[dict[str, Any]]


@dataclass(frozen=True)
class Said:
    """A piece of a choice. Its last one has a `reason` or an `error`; an empty one in between says "still here"."""

    text: str = ""
    reason: str = ""
    error: StudioError | None = None
    choice: int = 0
    chances: Chances | None = None


@dataclass
class Asked:
    """What an answer is told of its request."""

    model: str
    prompt_tokens: int
    prompt_hash: str
    stops: Sequence[str] = ()


class Answer:
    """What the listeners of a request's rows share: pieces in, from the decoding thread; out, in the event loop."""

    def __init__(
        self, asked: Asked, choices: int, decode: Callable[[list[int]], str], loop: asyncio.AbstractEventLoop
    ) -> None:
        """`decode` gives the text of some ids, without special tokens."""
        self.asked, self.decode, self._loop = asked, decode, loop
        self._began = time.monotonic()
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex[:24]}", int(time.time())
        self._pieces: asyncio.Queue[Said] = asyncio.Queue()
        self.choices = [Choice(self, index, TextStream(decode, asked.stops)) for index in range(choices)]

    def tell(self, said: Said) -> None:
        """From the decoding thread."""
        if not self._loop.is_closed():  # a process on its way out has no clients left
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, said)

    async def pieces(self) -> AsyncIterator[Said]:
        """Every piece up to the last of the last choice, or to the first error."""
        going = len(self.choices)
        while going:
            try:
                said = await asyncio.wait_for(self._pieces.get(), ALIVE_S)
            except TimeoutError:
                said = Said()
            yield said
            going = 0 if said.error else going - bool(said.reason)

    def chunk(self, said: Said, delta: dict[str, Any]) -> dict[str, Any]:
        """A chat.completion.chunk; a choice's last one, with a reason, carries usage and timings so far."""
        logprobs = None if said.chances is None else {"content": said.chances, "refusal": None}
        choice = {"index": said.choice, "delta": delta, "finish_reason": said.reason or None, "logprobs": logprobs}
        chunk = self._head("chat.completion.chunk") | {"choices": [choice]}
        return chunk | self.figures() if said.reason else chunk

    def whole(self, told: Sequence[Said]) -> dict[str, Any]:
        """The chat.completion of an answer that was not streamed, from all its pieces."""
        choices = [_whole_choice(index, [one for one in told if one.choice == index]) for index in self._indices()]
        return self._head("chat.completion") | {"choices": choices} | self.figures()

    def _indices(self) -> range:
        return range(len(self.choices))

    def _head(self, kind: str) -> dict[str, Any]:
        mark = {"system_fingerprint": self.asked.prompt_hash}
        return {"id": self._id, "object": kind, "created": self._created, "model": self.asked.model} | mark

    def figures(self) -> dict[str, Any]:
        """Tokens used, seconds to the first token, tokens per second after it, and the hash of what was read."""
        tokens = sum(choice.tokens for choice in self.choices)
        first = min((choice.first for choice in self.choices if choice.first), default=0.0)
        seconds = max(choice.last for choice in self.choices) - first
        usage = {
            "prompt_tokens": self.asked.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self.asked.prompt_tokens + tokens,
        }
        timings = {
            "first_token_s": round(first - self._began, 4) if first else None,
            "tokens_per_s": round((tokens - len(self.choices)) / seconds, 2) if first and seconds > 0 else None,
        }
        return {"usage": usage, "timings": timings, "prompt_hash": self.asked.prompt_hash}


@dataclass(eq=False)
class Choice:
    """The listener of one row."""

    answer: Answer
    index: int
    text: TextStream
    tokens: int = 0
    first: float = 0.0
    last: float = 0.0
    chances: Chances = field(default_factory=list)

    def token(self, token: Token) -> bool:
        """Take one token; true at a stop string."""
        self.tokens += 1
        self.last = time.monotonic()
        self.first = self.first or self.last
        piece = self.text.push(token.id)
        if token.chance is not None:
            self.chances.append(self._chance(token.id, token.chance) | {"top_logprobs": self._best(token)})
        if piece:
            self._tell(piece)
        return self.text.stopped

    def end(self, reason: str) -> None:
        """The row is over."""
        self._tell(self.text.finish(), reason)

    def fail(self, error: StudioError) -> None:
        """The row can not be answered."""
        self.answer.tell(Said(error=error, choice=self.index))

    def _tell(self, text: str, reason: str = "") -> None:
        chances, self.chances = self.chances or None, []
        self.answer.tell(Said(text, reason, None, self.index, chances))

    def _best(self, token: Token) -> Chances:
        return [self._chance(one, chance) for one, chance in token.best]

    def _chance(self, token: int, chance: float) -> dict[str, Any]:
        text = self.answer.decode([token])
        whole = "\ufffd" not in text
        return {"token": text, "logprob": chance, "bytes": list(text.encode()) if whole else None}


def _whole_choice(index: int, told: Sequence[Said]) -> dict[str, Any]:
    chances = [chance for one in told for chance in one.chances or []]
    return {
        "index": index,
        "message": {"role": "assistant", "content": "".join(one.text for one in told)},
        "finish_reason": next(one.reason for one in told if one.reason),
        "logprobs": {"content": chances, "refusal": None} if chances else None,
    }
