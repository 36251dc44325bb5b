"""AdamW for a bfloat16 adapter: it steps float32 masters and rounds them into the adapter.

bfloat16 alone loses small updates: a step of 0.0002 on a weight of 0.1 falls below its 8 bits.
"""

from collections.abc import Iterable
from typing import Any

import torch


class MasterAdamW(torch.optim.AdamW):
    """AdamW over float32 copies of `parameters`. Costs 4 bytes a trained weight; nothing in quality."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], **options: Any) -> None:
        """`options` are AdamW's (lr, betas, eps, weight_decay)."""
        self._trained: list[torch.Tensor] = [parameter for parameter in parameters if parameter.requires_grad]
        self._masters = [parameter.detach().float().clone() for parameter in self._trained]
        super().__init__(self._masters, fused=True, **options)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step from the adapter's gradients; the adapter then holds the rounded masters."""
        for master, parameter in zip(self._masters, self._trained, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
        super().step()
        torch._foreach_copy_(self._trained, self._masters)
        for master in self._masters:
            master.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the adapter's gradients."""
        for parameter in self._trained:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """AdamW's, with the masters: without them a resumed run would not be the same run."""
        return {**super().state_dict(), "masters": self._masters}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As saved by `state_dict`."""
        masters = state_dict["masters"]
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "masters"})
        torch._foreach_copy_(self._masters, [saved.to(own) for saved, own in zip(masters, self._masters, strict=True)])
