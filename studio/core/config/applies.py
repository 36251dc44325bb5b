"""Which fields mean anything, given the others: the rest is hidden on the form and goes at its default. Pure."""

from collections.abc import Mapping
from typing import Any

# A field: the field that it hangs on, and the values of that one with which it applies.
_HANGS: dict[str, tuple[str, frozenset[str]]] = {
    "base.bnb_4bit_use_double_quant": ("base.quantization", frozenset({"nf4"})),
    **{f"adapter.{name}": ("adapter.tuner", frozenset({"lora"}))
       for name in ("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora", "init_lora_weights",
                    "layers_to_transform", "modules_to_save", "bias", "continue_from")},
    "method.learn": ("method.name", frozenset({"sft"})),
    "method.beta": ("method.name", frozenset({"dpo", "kto", "orpo"})),
    "method.loss_type": ("method.name", frozenset({"dpo"})),
    "method.label_smoothing": ("method.loss_type", frozenset({"sigmoid", "robust"})),
    "method.desirable_weight": ("method.name", frozenset({"kto"})),
    "method.undesirable_weight": ("method.name", frozenset({"kto"})),
    "training.packing": ("method.name", frozenset({"sft"})),
    "training.path": ("method.name", frozenset({"sft"})),  # the others read the person's batches, by TRL's trainers
    "training.micro_batch_tokens": ("training.path", frozenset({"fast"})),
    "training.checkpoint_layers": ("training.activation_checkpointing", frozenset({"every_n"})),
    **{f"training.{name}": ("training.optim", frozenset({"adamw_torch", "adamw_8bit"}))
       for name in ("adam_beta1", "adam_beta2", "adam_epsilon")},
}  # fmt: skip
# The fields that others hang on: when one of these changes, what is hidden may change.
SWITCHES = tuple(dict.fromkeys(above for above, _ in _HANGS.values()))
HANGING = tuple(_HANGS)


def applies(path: str, values: Mapping[str, Any]) -> bool:
    """Whether the field `path` means anything beside `values` (by dotted path); also what it hangs on must."""
    if path not in _HANGS:
        return True
    above, takes = _HANGS[path]
    return str(values.get(above)) in takes and applies(above, values)
