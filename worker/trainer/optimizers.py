"""The optimizer of a run, by the config's name: with float32 masters where the model is in bfloat16."""

from collections.abc import Iterable
from typing import Any

import torch
from bitsandbytes.optim import AdamW8bit
from transformers.optimization import Adafactor

from studio.core.config import TrainingConfig
from worker.trainer.masters import MasterAdafactor, MasterAdamW, MasterAdamW8bit, MasterSGD, decay_groups

_WITH_MASTERS: dict[str, Any] = {
    "adamw_torch": MasterAdamW,
    "adamw_8bit": MasterAdamW8bit,
    "adafactor": MasterAdafactor,
    "sgd": MasterSGD,
}
_PLAIN: dict[str, Any] = {
    "adamw_torch": torch.optim.AdamW,
    "adamw_8bit": AdamW8bit,
    "adafactor": Adafactor,
    "sgd": torch.optim.SGD,
}


def optimizer_of(
    parameters: Iterable[torch.nn.Parameter], training: TrainingConfig, dtype: str
) -> torch.optim.Optimizer:
    """The optimizer over what is trained of `parameters`; `dtype` is the model's number format."""
    weights = [parameter for parameter in parameters if parameter.requires_grad]
    options = options_of(training)
    if dtype == "bfloat16":
        found: torch.optim.Optimizer = _WITH_MASTERS[training.optim](weights, **options)
        return found
    if training.optim == "adamw_torch":
        options["fused"] = True
    found = _PLAIN[training.optim](decay_groups(list(weights), training.weight_decay), **options)
    return found


def options_of(training: TrainingConfig) -> dict[str, Any]:
    """What the optimizer is told, in its own words."""
    options: dict[str, Any] = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    if training.optim in ("adamw_torch", "adamw_8bit"):
        options |= {"betas": (training.adam_beta1, training.adam_beta2), "eps": training.adam_epsilon}
    elif training.optim == "sgd":
        options["momentum"] = training.adam_beta1
    else:  # the learning rate is the person's: neither relative to the weights nor to the step
        options |= {"scale_parameter": False, "relative_step": False}
        options["beta1"] = training.adam_beta1 or None
    return options
