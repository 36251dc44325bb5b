"""What stands in for a model's own norm, gate, rotation and attention on each kind of device.

On an accelerator each is one kernel. Gate and rotation are liger-kernel's where it is installed (the extra `cuda`): it
needs Triton, which no processor's torch brings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch.nn import functional
from transformers.masking_utils import sdpa_mask

from worker.trainer import attention, rows
from worker.trainer.elementwise import RmsNorm, Rotate, SwiGlu, SwiGluAgain

Tensor = torch.Tensor
Attend = Callable[..., Any]


@dataclass(frozen=True)
class Kernels:
    """`norm(x (n, d), weight, eps)`, `gate(gate, up)`, `rotate(query, key, cos, sin (b, n, d))`, and how to attend.

    `attend` and `mask` are as transformers calls them, under `name`.
    """

    norm: Callable[[Tensor, Tensor, float], Tensor]
    gate: Callable[[Tensor, Tensor], Tensor]
    rotate: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    name: str
    attend: Attend
    mask: Attend


def kernels(device_kind: str) -> Kernels:
    """The ones for `cpu` or `cuda`."""
    if device_kind != "cuda":
        return Kernels(RmsNorm.apply, SwiGlu.apply, _rotate, attention.NAME, attention.attend, sdpa_mask)
    gate, rotate = SwiGluAgain.apply, _rotate
    if find_spec("liger_kernel") is not None:
        from liger_kernel.ops.rope import LigerRopeFunction
        from liger_kernel.ops.swiglu import LigerSiLUMulFunction

        gate, rotate = LigerSiLUMulFunction.apply, LigerRopeFunction.apply
    return Kernels(_norm, gate, rotate, rows.NAME, rows.attend, rows.mask)


def drawn(device_kind: str) -> Kernels:
    """What keeps as much as `kernels` of that kind and runs on the meta device, where no device's kernels do."""
    if device_kind != "cuda":
        return kernels(device_kind)
    return Kernels(RmsNorm.apply, SwiGluAgain.apply, _rotate, rows.NAME, rows.attend, rows.mask)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """One kernel of torch's; it keeps x and its rows' scales, as the one for processors does."""
    return functional.rms_norm(x, weight.shape, weight, eps)


def _rotate(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Any, Any]:
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return Rotate.apply(query, cos, sin), Rotate.apply(key, cos, sin)
