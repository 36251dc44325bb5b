"""Keys and values of a batch whose rows come and go: written in place, a row a slot, all ending at the same column.

The library's growing cache copies all of itself for every token, and its rows begin and end together. Here every row
ends at column `end`, a short one has unused columns on its left, and a step writes one column for all.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedConfig
from transformers.cache_utils import CacheLayerMixin, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

ROOM = 64  # columns that a new slab has to spare
Read = list[tuple[Tensor, Tensor]]
"""Keys and values of one row, (heads, tokens, size) for each layer."""


def is_plain(config: PreTrainedConfig) -> bool:
    """Whether all that a model remembers are keys and values of tokens, so that a slab can hold it."""
    plain = {DynamicLayer, DynamicSlidingWindowLayer}
    layers = DynamicCache(config=config.get_text_config(decoder=True)).layers
    chunked = "chunked_attention" in (getattr(config, "layer_types", None) or [])
    return not chunked and all(type(layer) in plain for layer in layers)


class Slab(Cache):
    """What `rows` rows have read. A sliding window is the mask's work: all columns are kept."""

    def __init__(self, rows: int, columns: int = 0) -> None:
        """Room for so many; it grows."""
        super().__init__(layers=[])
        self.slots, self.columns = rows, columns + ROOM
        self.lengths: list[int] = [0] * rows
        self.end = 0

    @property
    def begin(self) -> int:
        """The first column that any row uses."""
        return self.end - max(self.lengths, default=0)

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_rest: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new columns (rows, heads, new, size) and give all from `begin` on."""
        while len(self.layers) <= layer_idx:
            self.layers.append(Layer(self))
        return self.layers[layer_idx].update(key_states, value_states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns in use."""
        return self.end - self.begin

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """The same for each layer."""
        return self.get_seq_length()

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Columns that the new ones see."""
        return self.get_seq_length() + query_length, 0

    def reserve(self, new: int) -> None:
        """Make room for so many new columns; ask before each pass."""
        if self.end + new > self.columns:
            used = self.get_seq_length()
            self._move(self.slots, max(self.columns, 2 * (used + new)), used)

    def wrote(self, new: int) -> None:
        """A pass has written so many columns for every row."""
        self.end += new
        self.lengths = [length + new for length in self.lengths]

    def mask(self, new: int) -> Tensor | None:
        """Which columns each row uses, for the next pass (rows, columns); None where it is all."""
        width = self.get_seq_length() + new
        if all(length + new == width for length in self.lengths):
            return None
        first = width - new - torch.tensor(self.lengths)
        return (torch.arange(width)[None, :] >= first[:, None]).long()

    def extract(self, row: int) -> Read:
        """A copy of what a row has read."""
        here = slice(self.end - self.lengths[row], self.end)
        return [(layer.keys[row, :, here].clone(), layer.values[row, :, here].clone()) for layer in self._filled()]

    def place(self, row: int, read: Read, length: int) -> None:
        """Let a row of an unused slab begin with the first `length` tokens of what was read before."""
        self.reserve(length)
        for index, (keys, values) in enumerate(read):
            if len(self.layers) <= index:
                self.layers.append(Layer(self))
            self.layers[index].ready(keys, values)
            self.layers[index].keys[row, :, self.end : self.end + length] = keys[:, :length]
            self.layers[index].values[row, :, self.end : self.end + length] = values[:, :length]

    def join(self, other: "Slab") -> None:
        """Take the rows of another slab over."""
        count, longest = len(self.lengths), max(other.lengths)
        total = count + len(other.lengths)
        if longest > self.end or total > self.slots:
            used = max(self.get_seq_length(), longest)
            slots = self.slots if total <= self.slots else max(total, 2 * self.slots)
            self._move(slots, max(self.columns, used + ROOM), used)
        for mine, theirs in zip(self._filled(), other._filled(), strict=True):
            for row, length in enumerate(other.lengths):
                here, there = slice(self.end - length, self.end), slice(other.end - length, other.end)
                for into, source in ((mine.keys, theirs.keys), (mine.values, theirs.values)):
                    into[count + row, :, : self.end - length] = 0  # a stranger's leavings might be NaN
                    into[count + row, :, here] = source[row, :, there]
        self.lengths += other.lengths

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        for layer in self._filled():
            for tensor in (layer.keys, layer.values):
                for into, row in enumerate(rows):
                    if into != row:
                        tensor[into, :, : self.end] = tensor[row, :, : self.end]
        self.lengths = [self.lengths[row] for row in rows]

    def _move(self, slots: int, columns: int, end: int) -> None:
        """Change the room, and where the rows end."""
        for layer in self._filled():
            for name in ("keys", "values"):
                old = getattr(layer, name)
                new = old.new_zeros((slots, old.shape[1], columns, old.shape[3]))
                rows, used = len(self.lengths), self.get_seq_length()
                new[:rows, :, end - used : end] = old[:rows, :, self.end - used : self.end]
                setattr(layer, name, new)
        self.slots, self.columns, self.end = slots, columns, end

    def _filled(self) -> list[Any]:
        return [layer for layer in self.layers if layer.keys is not None]


class Layer(CacheLayerMixin):
    """One layer's part: keys and values (slots, heads, columns, size)."""

    def __init__(self, slab: Slab) -> None:
        """The slab knows where to write."""
        super().__init__()
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self._slab = slab

    def ready(self, keys: Tensor, values: Tensor) -> None:
        """Take memory, once the shapes are known: (..., heads, tokens, size)."""
        if self.keys is None:
            rows, columns = self._slab.slots, self._slab.columns
            self.keys = keys.new_zeros((rows, keys.shape[-3], columns, keys.shape[-1]))
            self.values = values.new_zeros((rows, values.shape[-3], columns, values.shape[-1]))

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """As the library calls it."""
        self.ready(key_states, value_states)

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_rest: Any) -> tuple[Tensor, Tensor]:
        """As `Slab.update`."""
        self.ready(key_states, value_states)
        assert self.keys is not None and self.values is not None
        rows, until = len(key_states), self._slab.end + key_states.shape[-2]
        self.keys[:rows, :, self._slab.end : until] = key_states
        self.values[:rows, :, self._slab.end : until] = value_states
        here = slice(self._slab.begin, until)
        return self.keys[:rows, :, here], self.values[:rows, :, here]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """As `Slab.get_mask_sizes`."""
        return self._slab.get_mask_sizes(query_length)

    def get_seq_length(self) -> int:
        """As `Slab.get_seq_length`."""
        return self._slab.get_seq_length()

    def get_max_length(self) -> int:
        """None."""
        return -1
