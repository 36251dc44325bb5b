"""The loss of chosen positions from their hidden states: head, softmax and gradient in one pass, chunk by chunk.

The head is frozen in an adapter's run, so the gradient of the hidden states is known as soon as the logits of a chunk
are: it is written down at once, and the logits never stand in memory whole nor are they computed twice.
"""

from typing import Any

import torch
from torch.nn import functional

# Learnt positions whose logits stand in memory at once: 50 MB in float32 at 49,152 words. An accelerator wants larger
# products.
CHUNKS = {"cpu": 256, "cuda": 1024}


def chunk_of(device_kind: str) -> int:
    """Positions at once on a kind of device."""
    return CHUNKS.get(device_kind, CHUNKS["cpu"])


class HeadLoss(torch.autograd.Function):
    """(hidden (n, d), weight (words, d), targets (n), chunk) -> (summed loss in float32, right guesses)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, chunk: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and, where they are wanted, the gradients of `hidden` and of a head that is trained too."""
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        d_hidden = torch.empty_like(hidden) if wants_hidden else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        correct = torch.zeros((), dtype=torch.long, device=hidden.device)
        for start in range(0, len(targets), chunk):
            part, wanted = hidden[start : start + chunk], targets[start : start + chunk]
            # log_softmax by hand, in the place of the logits: its own steps stand in memory beside one another
            share = part @ weight.T
            top, chosen = share.amax(-1, keepdim=True), share.gather(1, wanted[:, None])
            correct += (chosen >= top).sum()  # argmax would take longer than all else here
            share = share.float().sub_(top)
            whole = share.exp_().sum(-1, keepdim=True)
            loss -= ((chosen.float() - top.float()) - whole.log()).sum()
            if wants_hidden or wants_weight:
                share = share.div_(whole).scatter_add_(1, wanted[:, None], torch.full_like(whole, -1.0))
                share = share.to(hidden.dtype)
                if d_hidden is not None:
                    torch.mm(share, weight, out=d_hidden[start : start + chunk])
                if d_weight is not None:
                    d_weight += share.T @ part
            del share  # before the next chunk's
        ctx.save_for_backward(d_hidden, None if d_weight is None else d_weight.to(weight.dtype))
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        """What forward wrote down, times the loss's own gradient."""
        scale, (d_hidden, d_weight) = grads[0], ctx.saved_tensors
        return (
            None if d_hidden is None else d_hidden * scale.to(d_hidden.dtype),
            None if d_weight is None else d_weight * scale.to(d_weight.dtype),
            None,
            None,
        )


def head_loss(
    head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed loss and right guesses of `hidden` (n, d). A head that is more than a matrix takes its own forward."""
    if type(head) is torch.nn.Linear and getattr(head, "bias", None) is None:
        # a check asks for no gradient, also where the head is trained
        weight = head.weight if torch.is_grad_enabled() else head.weight.detach()
        loss, correct = HeadLoss.apply(hidden, weight, targets, chunk)
        return loss, correct
    logits = head(hidden)
    right = (logits.detach().argmax(-1) == targets).sum()
    return functional.cross_entropy(logits.float(), targets, reduction="sum"), right
