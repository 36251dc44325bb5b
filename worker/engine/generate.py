"""The decode of a mixed batch: rows with and without adapters, each with its own sampling, streamed token by token."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from studio.core.errors import StudioError, Unavailable
from worker.engine.models import LoadedModel

TURN = 8  # tokens in a row where batches that can not be mixed are answered side by side


class Listener(Protocol):
    """Who gets a row's tokens as they are made, on the decoding thread: its methods must be quick and not raise."""

    def token(self, token: int) -> bool:
        """Take one token; true when the text has now reached a stop string, which ends the row."""

    def end(self, reason: str) -> None:
        """The row is over: "stop" (end of turn or a stop string), "length", or "stopped" by its client."""

    def fail(self, error: StudioError) -> None:
        """The row can not be answered."""


@dataclass(eq=False)
class Row:
    """One answer to make. `room` is the most new tokens; temperature 0 is greedy; `ends` are the end-of-turn ids.

    `columns` is how many rows its page asked for at the same moment, this one among them.
    """

    prompt: Sequence[int]
    key: str
    listener: Listener
    ends: frozenset[int] = frozenset()
    room: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    columns: int = 1
    stopped: threading.Event = field(default_factory=threading.Event)
    made: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        """A generator of its own makes a row's answer independent of who else is in the batch."""
        self.generator = torch.Generator().manual_seed(self.seed)

    def left(self) -> bool:
        """Whether the client has gone; the row is over then."""
        if self.stopped.is_set():
            self._finish("stopped")
        return self.over

    def take(self, logits: Tensor) -> int | None:
        """The next token from this row's logits (vocabulary), or none when the row is over with it."""
        if self.left():
            return None
        if bool(torch.isnan(logits).any()):
            self.fail(Unavailable("The model's numbers are broken (NaN).", "Train with a lower learning rate."))
            return None
        token = pick(logits, self)
        if token not in self.ends:
            self.made += 1
        if token in self.ends or self.listener.token(token):
            self._finish("stop")
        elif self.made >= self.room:
            self._finish("length")
        return None if self.over else token

    def fail(self, error: StudioError) -> None:
        """Tell the client that its answer will not come, unless it is over already."""
        if not self.over:
            self.over = True
            self.listener.fail(error)

    def _finish(self, reason: str) -> None:
        self.over = True
        self.listener.end(reason)


def pick(logits: Tensor, row: Row) -> int:
    """One token from logits (vocabulary): the best at temperature 0, else drawn from the smallest set above top_p."""
    logits = logits.float()
    if row.temperature == 0:
        return int(logits.argmax())
    chances = torch.softmax(logits / row.temperature, dim=-1)
    if row.top_p >= 1:
        return int(torch.multinomial(chances, 1, generator=row.generator))
    chances, order = chances.sort(descending=True)
    chances[chances.cumsum(0) - chances >= row.top_p] = 0
    return int(order[torch.multinomial(chances, 1, generator=row.generator)])


@dataclass
class Batch:
    """What one forward pass reads: ids (rows, new), mask (rows, old + new), positions (rows, new), and the cache."""

    rows: list[Row]
    ids: Tensor
    mask: Tensor
    positions: Tensor
    cache: Any = None

    @classmethod
    def begin(cls, rows: list[Row], device: torch.device) -> "Batch":
        """Prompts padded on the left, so that every row's next token stands in the last column."""
        longest = max(len(row.prompt) for row in rows)
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, longest - len(row.prompt) :] = torch.tensor(row.prompt)
            mask[index, longest - len(row.prompt) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        return cls(rows, ids.to(device), mask.to(device), positions.to(device))

    def forward(self, model: Any) -> Tensor:
        """Logits of the last position (rows, vocabulary), on the CPU where they are sampled."""
        output = model(
            input_ids=self.ids,
            attention_mask=self.mask,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,  # a long prompt's logits at every position would be hundreds of megabytes
        )
        self.cache = output.past_key_values
        return output.logits[:, -1].cpu()

    def advance(self, tokens: list[int | None]) -> None:
        """Append each row's token; rows without one are over and leave the batch and its cache."""
        stay = [index for index, token in enumerate(tokens) if token is not None]
        if len(stay) < len(self.rows):
            kept = torch.tensor(stay, dtype=torch.long, device=self.ids.device)
            self.rows = [self.rows[index] for index in stay]
            self.mask, self.positions = self.mask[kept], self.positions[kept]
            if stay:
                self.cache.batch_select_indices(kept)
        self.ids = torch.tensor([[token] for token in tokens if token is not None], device=self.mask.device)
        self.mask = torch.cat([self.mask, self.mask.new_ones((len(stay), 1))], dim=1)
        self.positions = self.positions[:, -1:] + 1


@torch.inference_mode()
def decode(loaded: LoadedModel, rows: list[Row]) -> None:
    """Answer all rows in one batch; each one's listener hears of its end at once.

    Raises what the model raises: the rows that are not over then still wait to be told.
    """
    waiting = [row for row in rows if not row.left()]
    if not waiting:
        return
    groups: dict[str, list[Row]] = {}
    for row in waiting:
        groups.setdefault(loaded.group(row.key), []).append(row)
    batches = [Batch.begin(group, loaded.base.device) for group in groups.values()]
    while batches := [batch for batch in batches if batch.rows]:
        for batch in batches:
            _advance(loaded, batch, TURN if len(batches) > 1 else None)


def _advance(loaded: LoadedModel, batch: Batch, most: int | None) -> None:
    """Tokens for a batch to its end, or `most` of them where others wait for their turn."""
    made = 0
    while batch.rows and (most is None or made < most):
        count = len(batch.rows)
        with loaded.mixed([row.key for row in batch.rows]) as model:
            while len(batch.rows) == count and (most is None or made < most):
                made += 1
                logits = batch.forward(model)
                batch.advance([row.take(logits[index]) for index, row in enumerate(batch.rows)])
