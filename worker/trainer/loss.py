"""The loss, on learnt positions only: hidden states are chosen before the head, so no other position is scored.

TRL's own loss path on a CPU scores every position (facts.md). Right padding under causal attention needs no mask:
no token sees what stands behind it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from worker.trainer.prepare import by_length

CHUNK = 1024  # learnt positions whose logits stand in memory at once: 200 MB in float32 at 49,152 words
CHECK_BATCH = 16  # held-out examples at once; more does not make a processor faster
_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier")


@dataclass(frozen=True)
class Score:
    """Sums over a batch's learnt positions: `loss` (negative log-likelihood, with gradient), right guesses, count."""

    loss: torch.Tensor
    correct: torch.Tensor
    count: int


def has_plain_head(model: PeftModel) -> bool:
    """Whether logits are just hidden states times the head. Models that scale or cap them go TRL's way."""
    config = model.get_base_model().config.get_text_config()
    scaled = any(getattr(config, name, None) is not None for name in _SCALED)
    return not scaled and not hasattr(config, "output_router_logits")


def score(model: PeftModel, input_ids: torch.Tensor, labels: torch.Tensor) -> Score:
    """Score a right-padded batch; both tensors are (examples, tokens). Needs `has_plain_head`."""
    causal = model.get_base_model()
    hidden = causal.base_model(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    learnt = targets != -100
    return _of_hidden(causal.get_output_embeddings(), hidden[learnt], targets[learnt])


def _of_hidden(head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> Score:
    total, correct = hidden.new_zeros((), dtype=torch.float32), torch.zeros((), dtype=torch.long, device=hidden.device)
    for part, wanted in zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True):
        if torch.is_grad_enabled() and len(targets) > CHUNK:
            loss, right = checkpoint(_head, head, part, wanted, use_reentrant=False)
        else:
            loss, right = _head(head, part, wanted)
        total, correct = total + loss, correct + right
    return Score(total, correct, len(targets))


def _head(head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = head(hidden)
    right = (logits.detach().argmax(-1) == targets).sum()
    return functional.cross_entropy(logits.float(), targets, reduction="sum"), right


def _score_by_logits(model: PeftModel, batch: dict[str, torch.Tensor]) -> Score:
    """As `score`, for heads that are not plain: the model's own logits, whole."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].float()
    targets = batch["labels"][:, 1:]
    learnt = targets != -100
    chosen, wanted = logits[learnt], targets[learnt]
    loss = functional.cross_entropy(chosen, wanted, reduction="sum")
    return Score(loss, (chosen.argmax(-1) == wanted).sum(), len(wanted))


@torch.no_grad()
def held_out_loss(model: PeftModel, data: Dataset, pad_token_id: int, between: Callable[[], None]) -> float:
    """Mean loss over all learnt tokens of `data`; `between` is called before each batch. The model's mode is kept."""
    collate = DataCollatorForLanguageModeling(pad_token_id=pad_token_id)
    device = model.get_base_model().device
    was_training, plain = model.training, has_plain_head(model)
    model.eval()
    total, count = 0.0, 0
    try:
        for indices in by_length(list(data["length"]), CHECK_BATCH):
            between()
            batch = {name: tensor.to(device) for name, tensor in collate([data[i] for i in indices]).items()}
            found = score(model, batch["input_ids"], batch["labels"]) if plain else _score_by_logits(model, batch)
            total, count = total + float(found.loss), count + found.count
    finally:
        model.train(was_training)
    return total / max(count, 1)
