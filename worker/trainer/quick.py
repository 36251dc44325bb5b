"""Puts the fast parts into a loaded model, each only where it was seen to give what the model's own code gives.

Nothing is assumed of a model by its name: a part that has the right shape is run both ways on random numbers, and where
the two differ it stays as it was. Without gradients only the adapters take the fast way (they round better, `lora.py`);
all else runs the model's own code.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from worker.trainer import attention, lora, rows
from worker.trainer.attach import causal_of
from worker.trainer.fused import Kernels, kernels

Forward = Callable[..., Any]
ROWS = 4  # tokens of the trial
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}  # of the output's length


def quicken(model: nn.Module, quick: Kernels | None = None, trusted: Collection[str] | None = None) -> dict[str, int]:
    """How many parts of each kind run the fast way from now on: lora, norm, mlp, attention; `packed` is 1 or 0.

    `quick` are those of the model's device, unless told. Where nothing can be tried, on the meta device, the kinds that
    are `trusted` are taken without a trial.
    """
    base = causal_of(model)
    if base.dtype not in CLOSE:
        return {}
    quick = quick or kernels(base.device.type)
    counts = {"lora": lora.share(model), "norm": 0, "mlp": 0, "attention": 0, "packed": 0}
    if attention.install(base, quick.name, quick.attend, quick.mask):
        for part in _attentions(base):
            counts["attention"] += _replace(part, _attention_of(part, quick), "attention", trusted)
        counts["packed"] = int(rows.try_packed(base))
    for part in base.modules():
        if _is_norm(part):
            counts["norm"] += _replace(part, _norm_of(part, quick.norm), "norm", trusted)
        elif _is_mlp(part):
            counts["mlp"] += _replace(part, _mlp_of(part, quick.gate), "mlp", trusted)
    return counts


def _replace(part: nn.Module, forward: Forward, kind: str, trusted: Collection[str] | None) -> bool:
    """Let `forward` train in the place of the part's own where a trial gives the same, or the kind is trusted."""
    own = part.forward
    if not (_gives_the_same(part, forward) if trusted is None else kind in trusted):
        return False

    def either(*args: Any, **rest: Any) -> Any:
        return (forward if torch.is_grad_enabled() else own)(*args, **rest)

    part.forward = either
    return True


def _gives_the_same(part: nn.Module, forward: Forward) -> bool:
    """Whether the part's own code and `forward` make the same of random numbers."""
    own = part.forward
    try:
        given = _trial_of(part)
        with torch.no_grad():
            wanted, found = own(**given), forward(**given)
    except Exception:  # whatever a stranger's code does: then it stays its own
        return False
    wanted, found = (one[0] if isinstance(one, tuple) else one for one in (wanted, found))
    return float((wanted - found).float().norm()) <= CLOSE[wanted.dtype] * float(wanted.float().norm())


def _trial_of(part: Any) -> dict[str, Any]:
    """Random input for a part, and what stands beside it in a layer's call."""
    weight = next(one for one in part.parameters() if one.is_floating_point())  # packed ones are bytes
    noise = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=noise).to(weight.device, weight.dtype)

    if _is_norm(part):
        return {"hidden_states": random(ROWS, len(weight))}
    if _is_mlp(part):
        return {"x": random(ROWS, part.gate_proj.in_features)}
    half = random(2, ROWS, int(part.head_dim) // 2)
    places = (torch.cat([half.cos()] * 2, -1), torch.cat([half.sin()] * 2, -1))
    hidden = random(2, ROWS, part.q_proj.in_features)
    return {"hidden_states": hidden, "position_embeddings": places, "attention_mask": None}


def _is_norm(part: nn.Module) -> bool:
    weight = getattr(part, "weight", None)
    shaped = isinstance(weight, torch.Tensor) and weight.dim() == 1 and not weight.requires_grad
    return type(part).__name__.endswith("RMSNorm") and shaped and hasattr(part, "variance_epsilon")


def _norm_of(part: Any, norm: Forward) -> Forward:
    def forward(hidden_states: torch.Tensor) -> torch.Tensor:
        flat = hidden_states.reshape(-1, hidden_states.shape[-1])
        found: torch.Tensor = norm(flat, part.weight, part.variance_epsilon)
        return found.view(hidden_states.shape)

    return forward


def _is_mlp(part: nn.Module) -> bool:
    return all(hasattr(part, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn"))


def _mlp_of(part: Any, gate: Forward) -> Forward:
    def forward(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = part.down_proj(gate(part.gate_proj(x), part.up_proj(x)))
        return found

    return forward


def _attentions(base: nn.Module) -> list[Any]:
    names = ("q_proj", "k_proj", "v_proj", "o_proj", "head_dim", "scaling")
    return [part for part in base.modules() if all(hasattr(part, name) for name in names)]


def _attention_of(part: Any, quick: Kernels) -> Forward:
    """Llama's attention with a rotation that keeps less. Whatever a model does beside it fails the trial."""
    own = part.forward

    def forward(
        hidden_states: torch.Tensor, position_embeddings: Any = None, attention_mask: Any = None, **rest: Any
    ) -> Any:
        if rest.get("past_key_values") is not None:
            return own(hidden_states, position_embeddings=position_embeddings, attention_mask=attention_mask, **rest)
        shape = (*hidden_states.shape[:-1], -1, part.head_dim)
        query, key, value = (
            proj(hidden_states).view(shape).transpose(1, 2) for proj in (part.q_proj, part.k_proj, part.v_proj)
        )
        query, key = quick.rotate(query, key, *position_embeddings)
        mixed, weights = quick.attend(
            part, query, key, value, attention_mask,
            dropout=part.attention_dropout if part.training else 0.0, scaling=part.scaling, **rest,
        )  # fmt: skip
        return part.o_proj(mixed.reshape(*hidden_states.shape[:-1], -1)), weights

    return forward
