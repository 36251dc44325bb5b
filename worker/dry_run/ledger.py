"""Counts the bytes of all tensors that a piece of code makes, while it runs: how many stand in memory at once.

It works on the meta device, where no tensor has any memory: the code is the trainer's own, and the lifetimes of its
tensors are those of a real run, since autograd and Python decide them and not the device.
"""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
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
    """Bytes that autograd keeps for the backward pass: each storage once, without what is in `parameters`."""

    def __init__(self, parameters: Any) -> None:
        """`parameters` are there anyhow."""
        self._there = {parameter.untyped_storage()._cdata for parameter in parameters}
        self._kept: dict[int, int] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The hook that autograd calls for each tensor it saves."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._there:
            self._kept[storage._cdata] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """The sum."""
        return sum(self._kept.values())


class AsOnProcessor(TorchFunctionMode):
    """Attention as the processor's kernel does it: on the meta device torch would take the one that keeps all scores."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass everything else on."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention and args[0].is_meta:
            return _attend(*args, **kwargs)
        return func(*args, **kwargs)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    found = ATEN._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
    )
    out: torch.Tensor = found[0]
    return out
