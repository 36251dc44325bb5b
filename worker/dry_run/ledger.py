"""Counts the bytes of all tensors that a piece of code makes, while it runs: how many stand in memory at once.

It works on the meta device, where no tensor has any memory: the code is the trainer's own, and the lifetimes of its
tensors are those of a real run, since autograd and Python decide them and not the device.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN = torch.ops.aten


class Ledger(TorchDispatchMode):
    """`live` is what stands now, `most` the most since `begin`; both in bytes, without what was there before."""

    def __init__(self, there: Iterable[torch.Tensor] = ()) -> None:
        """`there` are tensors that stand in memory before: they do not count."""
        super().__init__()
        self.live = self.most = 0
        self._there = {tensor.untyped_storage()._cdata for tensor in there}
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def begin(self) -> None:
        """The most is counted anew from what stands now."""
        self.most = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count what it made."""
        if func is ATEN._local_scalar_dense.default and args[0].is_meta:
            return True  # "are these rows unpacked?" and the like; a tensor without memory has no answer of its own
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        known = self._known.get(key)
        if (known is not None and known() is storage) or storage._cdata in self._there:
            return

        def gone(_: Any) -> None:
            self._known.pop(key, None)
            self.live -= size

        self._known[key] = weakref.ref(storage, gone)
        self.live += size
        self.most = max(self.most, self.live)


class Saved:
    """Bytes that autograd keeps for the backward pass: each storage once, without what was `there` before."""

    def __init__(self, there: Iterable[torch.Tensor]) -> None:
        """Parameters, above all: they stand in memory anyhow."""
        self._there = {tensor.untyped_storage()._cdata for tensor in there}
        self._kept: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The hook that autograd calls for each tensor it saves."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._there:
            self._kept[id(storage)] = weakref.ref(storage)
        return tensor

    @property
    def bytes(self) -> int:
        """The sum of those that are still kept."""
        return sum(storage.nbytes() for ref in self._kept.values() if (storage := ref()) is not None)


@contextmanager
def as_on_processor() -> Iterator[None]:
    """Attention as the processor's kernel does it: on the meta device torch would take the one that keeps all scores.

    Put in the function's own place, not around it: a backward pass that computes again does so in another thread.
    """
    real = functional.scaled_dot_product_attention

    def attention(query: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        return (_attend if query.is_meta else real)(query, *rest, **named)

    functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = real


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
    """The processor's kernel; `rest` and `named` are those of `scaled_dot_product_attention`."""
    given = dict(zip(("attn_mask", "dropout_p", "is_causal"), rest, strict=False)) | named
    found = ATEN._scaled_dot_product_flash_attention_for_cpu(
        query,
        key,
        value,
        given.get("dropout_p", 0.0),
        given.get("is_causal", False),
        attn_mask=given.get("attn_mask"),
        scale=given.get("scale"),
    )
    out: torch.Tensor = found[0]
    return out
