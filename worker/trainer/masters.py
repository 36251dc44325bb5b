"""Optimizers for bfloat16 weights: they step float32 masters and round them into what is trained.

bfloat16 alone loses small updates: a step of 0.0002 on a weight of 0.1 falls below its 8 bits.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from bitsandbytes.optim import AdamW8bit
from transformers.optimization import Adafactor

from studio.core.microbatches import OPTIMIZED_AT_ONCE


class Masters:
    """Stands before an optimizer's class: that one sees float32 copies. Costs 4 bytes a trained weight."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], **options: Any) -> None:
        """`options` are the optimizer's own. Weights of one dimension (biases, norms) are not decayed."""
        self._trained: list[torch.Tensor] = [parameter for parameter in parameters if parameter.requires_grad]
        self._masters = [parameter.detach().to(torch.float32, copy=True) for parameter in self._trained]
        self._parts = list(_parts(self._masters, self._trained))
        super().__init__(decay_groups(self._masters, options.get("weight_decay", 0.0)), **options)  # type: ignore[call-arg]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step from the gradients of what is trained, which then holds the rounded masters.

        Part by part, for an optimizer passes over what has no gradient: those in float32 never stand there all at once.
        """
        for masters, trained in self._parts:
            for master, parameter in zip(masters, trained, strict=True):
                master.grad = None if parameter.grad is None else parameter.grad.float()
            super().step()  # type: ignore[misc]
            torch._foreach_copy_(trained, masters)
            for master in masters:
                master.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of what is trained."""
        for parameter in self._trained:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's, with the masters: without them a resumed run would not be the same run."""
        return {**super().state_dict(), "masters": self._masters}  # type: ignore[misc]

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As saved by `state_dict`."""
        masters = state_dict["masters"]
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "masters"})  # type: ignore[misc]
        torch._foreach_copy_(self._masters, [saved.to(own) for saved, own in zip(masters, self._masters, strict=True)])


def _parts(
    masters: list[torch.Tensor], trained: list[torch.Tensor]
) -> Iterator[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Masters and what is trained, in parts of `OPTIMIZED_AT_ONCE` numbers or one tensor more."""
    begin = size = 0
    for end, master in enumerate(masters, 1):
        size += master.numel()
        if size >= OPTIMIZED_AT_ONCE or end == len(masters):
            yield masters[begin:end], trained[begin:end]
            begin, size = end, 0


def decay_groups(weights: list[torch.Tensor], decay: float) -> list[dict[str, Any]]:
    """Matrices are decayed, what has one dimension is not."""
    groups = [([one for one in weights if one.ndim > 1], decay), ([one for one in weights if one.ndim <= 1], 0.0)]
    return [{"params": found, "weight_decay": value} for found, value in groups if found]


class MasterAdamW(Masters, torch.optim.AdamW):
    """AdamW over float32 copies."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], **options: Any) -> None:
        """`options` are AdamW's (lr, betas, eps, weight_decay)."""
        super().__init__(parameters, fused=True, **options)


class MasterAdamW8bit(Masters, AdamW8bit):
    """bitsandbytes' AdamW over float32 copies: its two moments take 2 bytes a weight instead of 8."""


class MasterAdafactor(Masters, Adafactor):
    """Adafactor over float32 copies."""


class MasterSGD(Masters, torch.optim.SGD):
    """Plain gradient descent over float32 copies."""
