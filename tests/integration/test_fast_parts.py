"""Each part of the fast path alone gives what plain torch or PEFT gives, forward and backward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional

from worker.trainer.attention import CausalAttention
from worker.trainer.elementwise import RmsNorm, Rotate, SwiGlu, SwiGluAgain
from worker.trainer.head import HeadLoss
from worker.trainer.lora import SharedLora, share

Part = Callable[..., torch.Tensor]


def close(found: torch.Tensor, wanted: torch.Tensor, within: float = 1e-5) -> bool:
    return bool((found - wanted).float().norm() <= within * wanted.float().norm())


def agree(part: Part, plain: Part, *given: torch.Tensor) -> bool:
    """Whether both give the same output, and the same gradients of all that is given."""
    torch.manual_seed(1)
    found, wanted = (
        _with_gradients(way, [tensor.clone().requires_grad_() for tensor in given]) for way in (part, plain)
    )
    return all(close(one, other) for one, other in zip(found, wanted, strict=True))


def _with_gradients(way: Part, given: list[torch.Tensor]) -> list[torch.Tensor]:
    out = way(*given)
    noise = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    (out * noise).sum().backward()
    return [out.detach(), *(tensor.grad for tensor in given if tensor.grad is not None)]


@pytest.mark.parametrize("length", [7, 128, 300, 600])
def test_attention_in_blocks_is_torchs(length: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 6, length, 8), torch.randn(2, 2, length, 8), torch.randn(2, 2, length, 8)

    def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True).transpose(
            1, 2
        )

    assert agree(lambda *given: CausalAttention.apply(*given, 8**-0.5), plain, query, key, value)


def test_norm_is_the_models() -> None:
    weight = torch.rand(16)
    assert agree(
        lambda x: RmsNorm.apply(x, weight, 1e-5),
        lambda x: x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight,
        torch.randn(9, 16),
    )


@pytest.mark.parametrize("part", [SwiGlu, SwiGluAgain])
def test_both_gates_are_the_models(part: Any) -> None:
    assert agree(part.apply, lambda gate, up: functional.silu(gate) * up, torch.randn(9, 16), torch.randn(9, 16))


def test_rotation_is_the_models() -> None:
    turn = torch.randn(1, 1, 5, 4)
    cos, sin = torch.cat([turn.cos()] * 2, -1), torch.cat([turn.sin()] * 2, -1)

    def plain(x: torch.Tensor) -> torch.Tensor:
        return x * cos + torch.cat([-x[..., 4:], x[..., :4]], -1) * sin

    assert agree(lambda x: Rotate.apply(x, cos, sin), plain, torch.randn(2, 3, 5, 8))


@pytest.mark.parametrize("chunk", [3, 64])
def test_the_loss_in_chunks_is_cross_entropy_with_the_gradient_of_a_head_that_is_trained(chunk: int) -> None:
    targets = torch.randint(0, 30, (10,))
    assert agree(
        lambda hidden, head: HeadLoss.apply(hidden, head, targets, chunk)[0],
        lambda hidden, head: functional.cross_entropy(hidden @ head.T, targets, reduction="sum"),
        torch.randn(10, 8),
        torch.randn(30, 8),
    )


def test_the_loss_in_bfloat16_is_that_of_float32_but_for_its_rounding() -> None:
    torch.manual_seed(3)
    hidden = torch.randn(40, 64).bfloat16().requires_grad_()
    head, targets = torch.randn(500, 64).bfloat16(), torch.randint(0, 500, (40,))
    loss, correct = HeadLoss.apply(hidden, head, targets, 16)
    loss.backward()
    whole = hidden.detach().float().requires_grad_()
    logits = whole @ head.float().T
    wanted = functional.cross_entropy(logits, targets, reduction="sum")
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=2e-3)
    assert int(correct) == int((logits.argmax(-1) == targets).sum())
    assert whole.grad is not None and hidden.grad is not None
    assert (hidden.grad.float() - whole.grad).norm() < 0.02 * whole.grad.norm()


class Block(nn.Module):
    """Layers that read one input."""

    def __init__(self, make: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = make(64, 128), make(64, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        return torch.cat([gate, up], -1)


def four_bits(inputs: int, outputs: int) -> nn.Module:
    layer = Linear4bit(inputs, outputs, compute_dtype=torch.float32, quant_type="nf4")
    return layer.to("cpu")


@pytest.mark.parametrize("make", [nn.Linear, four_bits], ids=["whole", "nf4"])
def test_shared_adapters_give_what_pefts_give(make: Callable[[int, int], nn.Module]) -> None:
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["gate_proj", "up_proj"], init_lora_weights=False)
    block = Block(make)
    block.is_loaded_in_4bit = make is four_bits  # type: ignore[assignment]
    model, x = get_peft_model(block, config), torch.randn(3, 5, 64)  # type: ignore[arg-type]
    wanted = gradients(model, x)
    assert share(model) == 2
    for found, other in zip(gradients(model, x), wanted, strict=True):
        assert close(found, other)
    with torch.no_grad(), model.disable_adapter():
        assert torch.equal(model(x)[..., :128], block.gate_proj.base_layer(x))  # the base alone is the base's own code


def gradients(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    given = x.clone().requires_grad_()
    out = model(given)
    out.square().sum().backward()
    trained = [one.grad for one in model.parameters() if one.grad is not None]
    assert given.grad is not None
    return [out.detach(), given.grad, *trained]


def test_a_young_adapter_is_not_lost_in_the_rounding_of_its_base() -> None:
    torch.manual_seed(0)
    x, weight, down = torch.randn(256, 64).bfloat16(), torch.randn(96, 64).bfloat16(), torch.randn(4, 64).bfloat16()
    up = (2e-4 * torch.randn(96, 4).sign()).bfloat16()  # after one step at the rate 2e-4

    def out(up: torch.Tensor) -> torch.Tensor:
        return SharedLora.apply(x, (1.0,), weight, None, down, up)[0].float()

    learnt, wanted = out(up) - out(torch.zeros_like(up)), x.float() @ down.float().T @ up.float().T
    kept = float((learnt * wanted).sum() / wanted.square().sum())
    assert kept == pytest.approx(1, abs=0.15)
    lost = (x @ weight.T).addmm_(x @ down.T, up.T).float() - out(torch.zeros_like(up))
    assert float((lost * wanted).sum() / wanted.square().sum()) < 0.5  # the other order, as PEFT adds them
