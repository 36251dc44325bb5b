"""Batches that are read and decoded: a cohort reads its prompts in chunks, then joins the lane that decodes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicCache

from worker.engine.kept import Kept
from worker.engine.models import LoadedModel
from worker.engine.row import Row
from worker.engine.slab import Slab


class Cohort:
    """Rows of one length whose prompts are being read, together and in chunks."""

    def __init__(self, rows: list[Row], loaded: LoadedModel, kept: Kept) -> None:
        """They begin with what was kept of their prompts; the scheduler has seen that it is equally much."""
        self.rows, self._loaded = rows, loaded
        self.done = 0
        self.cache: Cache = DynamicCache(config=loaded.base.config)
        if loaded.is_plain(rows[0].key):
            slab = self.cache = Slab(len(rows), len(rows[0].prompt))
            for index, row in enumerate(rows):
                read, self.done = kept.longest(row.key, row.prompt)
                slab.place(index, read, self.done)
            slab.wrote(self.done)

    @property
    def left(self) -> int:
        """Tokens of each prompt that are not read yet."""
        return len(self.rows[0].prompt) - self.done

    def read(self, most: int) -> Tensor | None:
        """Read up to `most` tokens of each prompt, all where the model can not go on later; the last ones' logits."""
        new = min(most, self.left) if isinstance(self.cache, Slab) else self.left
        ids = torch.tensor([list(row.prompt[self.done : self.done + new]) for row in self.rows])
        model = self._loaded.model_for([row.key for row in self.rows])
        places = torch.arange(self.done, self.done + new).repeat(len(ids), 1)
        logits = forward(model, self.cache, ids, places)
        self.done += new
        return None if self.left else logits

    def shed(self) -> None:
        """Let go of the rows whose clients have gone."""
        stay = [index for index, row in enumerate(self.rows) if not row.left()]
        if len(stay) < len(self.rows):
            self.rows = [self.rows[index] for index in stay]
            if isinstance(self.cache, Slab):
                self.cache.keep(stay)


class Lane:
    """Rows that are decoded together, a token each at a time; they come and go between two tokens."""

    def __init__(self, loaded: LoadedModel, kept: Kept) -> None:
        """Empty."""
        self.rows: list[Row] = []
        self.cache: Cache | None = None
        self._loaded, self._kept = loaded, kept

    def join(self, cohort: Cohort, logits: Tensor) -> None:
        """Take over rows whose prompts have been read, with their first tokens."""
        take_all(cohort.rows, logits)
        if self.cache is None:
            self.rows, self.cache = cohort.rows, cohort.cache
        elif isinstance(self.cache, Slab) and isinstance(cohort.cache, Slab):
            self.rows = self.rows + cohort.rows
            self.cache.join(cohort.cache)
        self.shed()

    def step(self) -> int:
        """One token for every row; gives how many."""
        self.shed()
        if not self.rows:
            return 0
        model = self._loaded.model_for([row.key for row in self.rows])
        ids = torch.tensor([[row.made[-1]] for row in self.rows])
        places = torch.tensor([[len(row.prompt) + len(row.made) - 1] for row in self.rows])
        assert self.cache is not None
        take_all(self.rows, forward(model, self.cache, ids, places))
        count = len(self.rows)
        self.shed()
        return count

    def shed(self) -> None:
        """Let the rows go that are over; what they have read is kept for the next turn of their chats."""
        over = [index for index, row in enumerate(self.rows) if row.left()]
        if not over:
            return
        if isinstance(self.cache, Slab):
            for index in over:
                self._keep(index, self.cache)
        stay = [index for index in range(len(self.rows)) if index not in over]
        for place in range(len(stay)):  # the last ones move into the gaps: fewer copies than moving all up
            if stay[place] != place:
                stay.insert(place, stay.pop())
        self.rows = [self.rows[index] for index in stay]
        if isinstance(self.cache, Slab):
            self.cache.keep(stay)
        if not self.rows:
            self.cache = None

    def _keep(self, index: int, slab: Slab) -> None:
        row = self.rows[index]
        if not row.failed:
            ids = [*row.prompt, *row.made][: slab.lengths[index]]
            self._kept.put(row.key, ids, slab.extract(index))


def forward(model: Any, cache: Cache, ids: Tensor, places: Tensor) -> Tensor:
    """One pass over new tokens (rows, new); logits of the last ones (rows, vocabulary), where they are sampled."""
    new, mask = ids.shape[1], None
    if isinstance(cache, Slab):
        cache.reserve(new)
        mask = cache.mask(new)
    device = model.device
    output = model(
        input_ids=ids.to(device),
        attention_mask=None if mask is None else mask.to(device),
        position_ids=places.to(device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,  # a long prompt's logits at every position would be hundreds of megabytes
    )
    if isinstance(cache, Slab):
        cache.wrote(new)
    logits: Tensor = output.logits[:, -1].cpu()
    return logits


def take_all(rows: Sequence[Row], logits: Tensor) -> None:
    """Give every row its next token."""
    for row, own, best in zip(rows, logits, logits.argmax(-1).tolist(), strict=True):
        row.take(own, best)
