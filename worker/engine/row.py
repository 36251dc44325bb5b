"""One answer to make, and who hears of it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from studio.core.errors import StudioError, Unavailable
from worker.engine.sampling import GREEDY, Sampling, likelihoods, pick


@dataclass(frozen=True)
class Token:
    """A token of an answer. `chance` is the logarithm of its chance, `best` those of the likeliest, where asked for."""

    id: int
    chance: float | None = None
    best: tuple[tuple[int, float], ...] = ()


class Listener(Protocol):
    """Who gets a row's tokens as they are made, on the decoding thread: its methods must be quick and not raise."""

    def token(self, token: Token) -> bool:
        """Take one token; true when the text has now reached a stop string, which ends the row."""

    def end(self, reason: str) -> None:
        """The row is over: "stop" (end of turn or a stop string), "length", or "stopped" by its client."""

    def fail(self, error: StudioError) -> None:
        """The row can not be answered."""


@dataclass(eq=False)
class Row:
    """One answer to make. `room` is the most new tokens; `ends` are the end-of-turn ids.

    `columns` is how many rows its page asked for at the same moment, this one among them. `chances` is how many
    likeliest tokens are told beside each one; none at all where it is None.
    """

    prompt: Sequence[int]
    key: str
    listener: Listener
    ends: frozenset[int] = frozenset()
    room: int = 256
    sampling: Sampling = GREEDY
    seed: int = 0
    columns: int = 1
    beams: int = 1
    chances: int | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    made: list[int] = field(default_factory=list)
    over: bool = False
    failed: bool = False
    asked: float = 0.0

    def __post_init__(self) -> None:
        """A generator of its own makes a row's answer independent of who else is in the batch."""
        self.generator = torch.Generator().manual_seed(self.seed)

    def left(self) -> bool:
        """Whether the client has gone; the row is over then."""
        if self.stopped.is_set():
            self.finish("stopped")
        return self.over

    def take(self, logits: Tensor, best: int | None = None) -> None:
        """Take the next token from this row's logits (vocabulary), `best` being their greatest where that is known."""
        if self.left():
            return
        if bool(torch.isnan(logits).any()):
            self.fail(Unavailable("The model's numbers are broken (NaN).", "Train with a lower learning rate."))
            return
        plain = best is not None and self.sampling.is_plain
        token = best if plain and best is not None else pick(
            logits, self.sampling, self.generator, (*self.prompt, *self.made)
        )  # fmt: skip
        self.say(token, logits)

    def say(self, token: int, logits: Tensor | None = None) -> None:
        """Tell the listener of a token, or of the row's end."""
        if token in self.ends:
            self.finish("stop")
            return
        self.made.append(token)
        if self.listener.token(self._told(token, logits)):
            self.finish("stop")
        elif len(self.made) >= self.room:
            self.finish("length")

    def _told(self, token: int, logits: Tensor | None) -> Token:
        if self.chances is None or logits is None:
            return Token(token)
        chance, best = likelihoods(logits, token, self.chances)
        return Token(token, chance, tuple(best))

    def fail(self, error: StudioError) -> None:
        """Tell the client that its answer will not come, unless it is over already."""
        if not self.over:
            self.over = self.failed = True
            self.listener.fail(error)

    def finish(self, reason: str) -> None:
        """Tell the client why it is over, unless it is over already."""
        if not self.over:
            self.over = True
            self.listener.end(reason)
