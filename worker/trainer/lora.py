"""LoRA linears that share an input, as one autograd node: what PEFT computes, in fewer and larger steps.

PEFT runs, for each layer, base, A, B, a scaling and an addition, each its own node that keeps its input. Here the A
matrices of layers that read the same input (q, k, v; gate, up) are one product, the scaling is inside it, and one copy
of the input is kept for all. A base in 4 bits is unpacked one layer at a time, in each pass anew.

The base's product is added onto B's and not the other way round: what stands in bfloat16 is then rounded once, with the
adapter in it. A young adapter's share is smaller than half of the last digit of the base's; added onto the rounded base
it is lost, and a third of the first steps' progress with it (measured with the starter model at the rate 2e-4).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit as BaseLinear4bit
from peft.tuners.lora import Linear
from peft.tuners.lora.bnb import Linear4bit

Tensors = tuple[torch.Tensor | None, ...]


class SharedLora(torch.autograd.Function):
    """(x (n, d), scales, then base weight, bias, A, B of each layer) -> one output (n, out) a layer."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scales: Sequence[float], *parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Base and adapter: x W^T + b + scale (x A^T) B^T."""
        weights, biases, downs, ups = parts[0::4], parts[1::4], parts[2::4], parts[3::4]
        low = x @ torch.cat(downs).T
        outputs = []
        for weight, bias, up, scale, part in zip(
            weights, biases, ups, scales, low.split([len(down) for down in downs], 1), strict=True
        ):
            out = (part @ (up * scale).T).addmm_(x, unpacked(weight).T)
            outputs.append(out if bias is None else out.add_(bias))
        ctx.save_for_backward(x, low, *downs, *ups)
        ctx.scales, ctx.weights = scales, weights  # frozen: nothing but the layer itself could change them
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Tensors:
        """Gradients of x (where it is wanted), every A and every B. Base weights and biases are frozen."""
        x, low, *rest = ctx.saved_tensors
        count = len(ctx.scales)
        downs, ups = rest[:count], rest[count:]
        ranks = [len(down) for down in downs]
        d_low = torch.empty_like(low)
        found: list[torch.Tensor | None] = []
        for grad, up, scale, part, d_part in zip(
            grads, ups, ctx.scales, low.split(ranks, 1), d_low.split(ranks, 1), strict=True
        ):
            torch.mm(grad, up * scale, out=d_part)
            found += [None, None, None, (grad.T @ part).mul_(scale)]
        for number, d_down in enumerate((d_low.T @ x).split(ranks)):
            found[4 * number + 2] = d_down
        d_x = d_low @ torch.cat(downs) if ctx.needs_input_grad[0] else None
        if d_x is not None:
            for grad, weight in zip(grads, ctx.weights, strict=True):
                d_x.addmm_(grad, unpacked(weight))
        return d_x, None, *found


def unpacked(weight: torch.Tensor) -> torch.Tensor:
    """A base weight as it is multiplied with: one in 4 bits in its number format, any other itself."""
    state = getattr(weight, "quant_state", None)
    return weight if state is None else dequantize_4bit(weight.data, state)


PLAIN = {(Linear, torch.nn.Linear), (Linear4bit, BaseLinear4bit)}
SHARERS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # names of layers that may read one input


class Sharing:
    """Layers that read the same tensor: the first one that is asked computes for all, the others hand out."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        """Puts itself before the layers' own `forward`; which is still asked for all that is not plain training."""
        self._layers = list(layers)
        self._plain = [layer.forward for layer in layers]
        self._x: torch.Tensor | None = None
        self._ready: list[torch.Tensor | None] = [None] * len(self._layers)
        for number, layer in enumerate(layers):
            layer.forward = self._forward_of(number)

    def _forward_of(self, number: int) -> Callable[..., torch.Tensor]:
        def forward(x: torch.Tensor, *args: Any, **rest: Any) -> torch.Tensor:
            if args or rest or not self._fits(x):
                found: torch.Tensor = self._plain[number](x, *args, **rest)
                return found
            ready = self._ready[number] if self._x is x else None
            if ready is None:
                self._compute(x)
                ready = self._ready[number]
            assert ready is not None
            self._ready[number] = None
            if all(one is None for one in self._ready):
                self._x = None
            return ready

        return forward

    def _fits(self, x: torch.Tensor) -> bool:
        """Whether every layer now computes just base plus one adapter, all in the input's number format."""
        return all(
            not layer.disable_adapters and not layer.merged and len(layer.active_adapters) == 1
            and x.dtype == _format_of(layer.base_layer) == layer.lora_A[layer.active_adapters[0]].weight.dtype
            for layer in self._layers
        )  # fmt: skip

    def _compute(self, x: torch.Tensor) -> None:
        parts: list[torch.Tensor | None] = []
        for layer in self._layers:
            name = layer.active_adapters[0]
            parts += [layer.base_layer.weight, layer.base_layer.bias, layer.lora_A[name].weight]
            parts += [layer.lora_B[name].weight]
        scales = tuple(float(layer.scaling[layer.active_adapters[0]]) for layer in self._layers)
        outputs = SharedLora.apply(x.reshape(-1, x.shape[-1]), scales, *parts)
        self._x, self._ready = x, [out.view(*x.shape[:-1], -1) for out in outputs]


def _format_of(base: Any) -> torch.dtype | None:
    """The number format that the layer computes in."""
    state = getattr(base.weight, "quant_state", None)
    found: torch.dtype | None = base.weight.dtype if state is None else state.dtype
    return found


def share(model: torch.nn.Module) -> int:
    """Quicken every LoRA linear of `model` that is plain; gives how many. Others keep PEFT's own forward."""
    count = 0
    for layers in _groups(model):
        Sharing(layers)
        count += len(layers)
    return count


def _groups(model: torch.nn.Module) -> Iterator[list[Linear]]:
    for parent in model.modules():
        plain = {name: child for name, child in parent.named_children() if is_plain(child)}
        for names in SHARERS:
            if all(name in plain for name in names):
                yield [plain.pop(name) for name in names]
        yield from ([layer] for layer in plain.values())


def is_plain(layer: Any) -> bool:
    """Whether a module is PEFT's LoRA linear and no more: no dropout, no DoRA, no trained bias, no 8 bits."""
    if (type(layer), type(getattr(layer, "base_layer", None))) not in PLAIN or getattr(layer, "fan_in_fan_out", False):
        return False
    bias = layer.base_layer.bias
    odd = layer.base_layer.weight.requires_grad or (bias is not None and bias.requires_grad) or layer.lora_variant
    downs, ups = list(layer.lora_A.values()), list(layer.lora_B.values())
    dropped = any(not isinstance(one, torch.nn.Identity) for one in layer.lora_dropout.values())
    return not odd and not dropped and all(type(one) is torch.nn.Linear and one.bias is None for one in downs + ups)
