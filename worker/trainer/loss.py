"""The loss, on learnt positions only: hidden states are chosen before the head, so no other position is scored.

TRL's own loss path on a CPU scores every position (facts.md). Right padding under causal attention needs no mask:
no token sees what stands behind it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn import functional

from studio.core.microbatches import CHECK_TOKENS, micro_batches
from worker.trainer.attach import causal_of
from worker.trainer.batches import padded
from worker.trainer.head import chunk_of, head_loss
from worker.trainer.heap import tidied_heap
from worker.trainer.rows import packed_rows, reads_packed

_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier")


@dataclass(frozen=True)
class Score:
    """Sums over a batch's learnt positions: `loss` (negative log-likelihood, with gradient), right guesses, count."""

    loss: torch.Tensor
    correct: torch.Tensor
    count: int


def has_plain_head(model: PeftModel) -> bool:
    """Whether logits are just hidden states times the head. Models that scale or cap them go TRL's way."""
    config = causal_of(model).config.get_text_config()
    scaled = any(getattr(config, name, None) is not None for name in _SCALED)
    return not scaled and not hasattr(config, "output_router_logits")


def score(model: PeftModel, batch: dict[str, Any], kind: str = "") -> Score:
    """Score a batch as `worker.trainer.batches` makes it, as on a device of `kind`. Needs `has_plain_head`."""
    causal = causal_of(model)
    with _reading(causal, batch):
        hidden = causal.base_model(**_read(causal, batch), use_cache=False).last_hidden_state
    chosen = hidden.flatten(0, 1).index_select(0, batch["where"])
    # where the blocks keep nothing the logits would come on top of what they took and gave back, and so on in turn
    tidies = chosen.device.type == "cpu" and (not torch.is_grad_enabled() or causal.is_activation_checkpointing)
    with tidied_heap() if tidies else nullcontext():
        loss, correct = head_loss(
            causal.get_output_embeddings(), chosen, batch["targets"], chunk_of(kind or chosen.device.type)
        )
    return Score(loss, correct, batch["learnt"])


def _reading(causal: Any, batch: dict[str, Any]) -> AbstractContextManager[None]:
    return packed_rows() if "packed_ids" in batch and reads_packed(causal) else nullcontext()


def _read(causal: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """What the model is given of a batch, padded or packed."""
    if "packed_ids" not in batch:
        return {"input_ids": batch["input_ids"]}
    given = {"input_ids": batch["packed_ids"], "position_ids": batch["packed_places"]}
    if "flash" not in str(causal.config._attn_implementation) and not reads_packed(causal):
        return given  # transformers makes a mask of the places
    starts, longest = batch["starts"], batch["longest"]
    return given | {"cu_seq_lens_q": starts, "cu_seq_lens_k": starts, "max_length_q": longest, "max_length_k": longest}


def _score_by_logits(model: PeftModel, batch: dict[str, Any]) -> Score:
    """As `score`, for heads that are not plain: the model's own logits, whole."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    chosen = logits.flatten(0, 1).index_select(0, batch["where"]).float()
    loss = functional.cross_entropy(chosen, batch["targets"], reduction="sum")
    return Score(loss, (chosen.argmax(-1) == batch["targets"]).sum(), batch["learnt"])


@torch.no_grad()
def held_out_loss(model: PeftModel, data: Dataset, pad_token_id: int, between: Callable[[], None]) -> float:
    """Mean loss over all learnt tokens of `data`; `between` is called before each batch. The model's mode is kept."""
    device = causal_of(model).device
    was_training, plain = model.training, has_plain_head(model)
    model.eval()
    total, count = 0.0, 0
    try:
        for indices in micro_batches(list(data["length"]), CHECK_TOKENS):
            between()
            batch = on_device(padded([data[i] for i in indices], pad_token_id), device)
            found = score(model, batch) if plain else _score_by_logits(model, batch)
            total, count = total + float(found.loss), count + found.count
    finally:
        model.train(was_training)
    return total / max(count, 1)


def on_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The tensors of `batch` on `device`, all else as it is."""
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
