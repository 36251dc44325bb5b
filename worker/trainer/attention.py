"""Causal attention for a processor, in blocks of rows, as batched matrix products.

torch's own fused attention for processors has a slow backward: 24 of 25 ms for 16 examples of 64 tokens in bfloat16
(9 heads, two cores with AMX), where this takes 4 for both; 28 and 12 ms for 2 of 512; about the same from 1,024 on.
A block of rows meets only the columns before its end, so half of the square is left out. Heads that share their keys
are rows of one product: keys and values are never repeated.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from studio.core.microbatches import BLOCKS_UP_TO

NAME = "tunesmith"
BLOCK = 128  # rows of a head in one product


class CausalAttention(torch.autograd.Function):
    """(query (b, heads, n, d), key and value (b, groups, n, d), scale) -> (b, n, heads, d). Right padding only."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """Block by block."""
        batch, heads, length, width = query.shape
        groups = key.shape[1]
        key, value = (part.reshape(batch * groups, length, width) for part in (key, value))
        out = query.new_empty(batch, length, groups, heads // groups, width)
        kept = []
        for start in range(0, length, BLOCK):
            end = min(start + BLOCK, length)
            rows = _rows(query, groups, start, end).mul(scale)
            shares = _shares(rows, key[:, :end], end - start)
            mixed = torch.bmm(shares, value[:, :end])
            out[:, start:end] = mixed.view(batch, groups, -1, end - start, width).permute(0, 3, 1, 2, 4)
            kept.append(shares)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.scale = scale
        return out.view(batch, length, heads, width)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        """The same blocks again."""
        query, key, value, *kept = ctx.saved_tensors
        batch, heads, length, width = query.shape
        groups = len(key) // batch
        d_out = grads[0].transpose(1, 2)
        d_query = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
        exact = torch.float32 if length > BLOCK else key.dtype  # several blocks add up
        d_key, d_value = (torch.zeros(part.shape, dtype=exact, device=key.device) for part in (key, value))
        for number, start in enumerate(range(0, length, BLOCK)):
            end = min(start + BLOCK, length)
            rows, d_rows = _rows(query, groups, start, end).mul(ctx.scale), _rows(d_out, groups, start, end)
            shares = kept[number]
            d_value[:, :end] += torch.bmm(shares.transpose(1, 2), d_rows)
            d_shares = torch.bmm(d_rows, value[:, :end].transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_shares, shares, -1, shares.dtype)
            d_key[:, :end] += torch.bmm(d_scores.transpose(1, 2), rows)
            mixed = torch.bmm(d_scores, key[:, :end]).mul_(ctx.scale)
            d_query[:, start:end] = mixed.view(batch, heads, end - start, width).transpose(1, 2)
        shape = (batch, groups, length, width)
        return d_query.transpose(1, 2), d_key.to(key.dtype).view(shape), d_value.to(key.dtype).view(shape), None


def _rows(part: torch.Tensor, groups: int, start: int, end: int) -> torch.Tensor:
    """Rows of a block, heads of one group below one another: (b * groups, heads / groups * rows, d)."""
    batch, heads, _, width = part.shape
    return part[:, :, start:end].reshape(batch * groups, heads // groups * (end - start), width)


def _shares(rows: torch.Tensor, key: torch.Tensor, size: int) -> torch.Tensor:
    """How much each row takes of each column; what lies behind a row's own place is 0."""
    scores = torch.bmm(rows, key.transpose(1, 2))
    own = scores.view(len(rows), -1, size, scores.shape[-1])[..., -size:]
    own += torch.full((size, size), float("-inf"), dtype=scores.dtype, device=scores.device).triu_(1)
    return torch.softmax(scores, -1)


def attend(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **rest: Any
) -> tuple[torch.Tensor, None]:
    """As transformers calls its attentions. All but plain causal training goes to torch's own."""
    if is_plain(module, mask, rest) and _fits(query, key, value):
        return CausalAttention.apply(query, key, value, rest.get("scaling") or query.shape[-1] ** -0.5), None
    found: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, **rest)
    return found


def is_plain(module: torch.nn.Module, mask: Any, rest: Mapping[str, Any]) -> bool:
    """Whether attention is causal and nothing else is asked of it."""
    causal = rest.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    odd = any(rest.get(name) is not None for name in ("softcap", "s_aux", "position_bias", "cache"))
    return bool(causal) and mask is None and not odd and not rest.get("dropout")


def _fits(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether these are trained, whole, and short enough."""
    length = query.shape[2]
    trained = torch.is_grad_enabled() and query.requires_grad and not query.is_cuda
    return trained and 1 < length <= BLOCKS_UP_TO and length == key.shape[2] and query.shape[-1] == value.shape[-1]


def install(model: Any, name: str, attention: Callable[..., Any], mask: Callable[..., Any]) -> bool:
    """Let `model` attend by `attention`, known as `name`, where it attends by torch's; gives whether it does now."""
    if model.config._attn_implementation != "sdpa" or not getattr(model, "_supports_attention_backend", False):
        return False
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, mask)
    model.set_attn_implementation(name)
    return True
