"""Norm, gate and rotation with backwards written by hand: fewer passes over memory, fewer tensors kept.

Between the matrix products a processor spends its time on passes like these; autograd makes one node and keeps one
tensor for each small operation of the model's code.
"""

from typing import Any

import torch
from torch.nn import functional


class RmsNorm(torch.autograd.Function):
    """(x (n, d), weight (d), eps) -> x / rms(x), rounded to x's format, times weight. Keeps x and its rows' scales.

    torch has one-pass kernels for batch and layer norm on processors and none for this one. With rows as channels the
    first gives x / rms(x); the backward of the second, told that the mean is 0, lacks one term that is the same for a
    whole row. Together a third of the time of the plain operations.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """In float32 inside."""
        size = x.shape[-1]
        square = torch.linalg.vector_norm(x, dim=-1, dtype=_inside(x)).square_().div_(size)
        none = torch.zeros_like(square)
        normal = functional.batch_norm(x.unsqueeze(0), none, square, eps=eps).squeeze(0)
        ctx.save_for_backward(x, weight, square.add_(eps).rsqrt_())
        return normal.mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """The weight is frozen."""
        x, weight, scale = ctx.saved_tensors
        grad, size, wide = grads[0].contiguous(), x.shape[-1], weight.to(scale.dtype)
        none = torch.zeros_like(scale)
        d_x, _, _ = torch.ops.aten.native_layer_norm_backward(
            grad, x, [size], none[:, None], scale[:, None], wide, torch.zeros_like(wide), [True, False, False]
        )
        missing = (grad @ weight).to(scale.dtype).mul_(scale).div_(size)
        return d_x.add_(missing.to(x.dtype)[:, None]), None, None


def _inside(x: torch.Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


class SwiGlu(torch.autograd.Function):
    """(gate, up) -> silu(gate) * up. Keeps silu(gate) too: to compute it again takes a fifth of both passes."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """One product."""
        act = functional.silu(gate)
        ctx.save_for_backward(gate, up, act)
        return act * up

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The derivative of silu is one pass."""
        gate, up, act = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grads[0] * up, gate), grads[0] * act


class SwiGluAgain(torch.autograd.Function):
    """As `SwiGlu`, with silu(gate) computed again: for accelerators, where a third of what is kept is worth more."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """One product."""
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As that of `SwiGlu`."""
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grads[0] * up, gate), functional.silu(gate).mul_(grads[0])


class Rotate(torch.autograd.Function):
    """(x (b, heads, n, d), cos, sin (b, 1, n, d)) -> x turned by its place. Keeps cos and sin, not x."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Turn: x cos + rotate_half(x) sin."""
        ctx.save_for_backward(cos, sin)
        half = x.shape[-1] // 2
        out = x * cos
        out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        out[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """Turned back: the transposed map."""
        (cos, sin), grad = ctx.saved_tensors, grads[0]
        half = grad.shape[-1] // 2
        out = grad * cos
        out[..., :half].addcmul_(grad[..., half:], sin[..., half:])
        out[..., half:].addcmul_(grad[..., :half], sin[..., :half], value=-1)
        return out, None, None
