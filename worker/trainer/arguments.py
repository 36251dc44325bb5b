"""What TRL is told: the config's training group, and everything that TRL would choose by itself."""

import math
from typing import Any

from transformers import TrainingArguments
from trl import DPOConfig, KTOConfig, SFTConfig

from studio.core.config import TrainingConfig
from studio.core.estimate.checks import check_every as every
from worker.trainer.job import Job
from worker.trainer.load import Loaded
from worker.trainer.orpo import ORPOConfig
from worker.trainer.prepare import Prepared

# Of the training group, what no argument of TRL's is.
OURS = {
    "activation_checkpointing",
    "checkpoint_layers",
    "checkpoint_seconds",
    "early_stopping_patience",
    "eval_share",
    "eval_steps",
    "load_best_model_at_end",
    "max_length",
    "micro_batch_tokens",
    "neftune_noise_alpha",
    "optim",
    "overlong",
    "packing",
    "path",
    "predict_with_generate",
    "torch_compile",
}
# What a schedule is told beside its name: transformers' polynomial one else ends above a small learning rate.
SCHEDULES = {"polynomial": {"lr_end": 0.0}}


def arguments(job: Job, loaded: Loaded, data: Prepared) -> SFTConfig:
    """What TRL is told for sft."""
    told = shared(job, loaded, data)
    training = job.config.training
    if training.path == "fast":  # one batch a step, which `FastTuner` splits by tokens
        told |= {"per_device_train_batch_size": examples_per_step(training), "gradient_accumulation_steps": 1}
    # the examples are tokenised and cut already
    return SFTConfig(**told, max_length=None, dataset_kwargs={"skip_prepare_dataset": True})


def comparing_arguments(job: Job, loaded: Loaded, data: Prepared) -> TrainingArguments:
    """What TRL is told for dpo, kto and orpo. Dropout is the person's: TRL would switch it off."""
    told, method = shared(job, loaded, data) | {"disable_dropout": False}, job.config.method
    told["beta"] = method.beta
    if method.name == "orpo":
        return ORPOConfig(**told, max_length=job.config.training.max_length)
    told |= {"max_length": None, "precompute_ref_log_probs": True}  # the examples are cut already
    if method.name == "dpo":
        return DPOConfig(**told, loss_type=[method.loss_type], label_smoothing=method.label_smoothing)
    told["train_sampling_strategy"] = "sequential"
    weights = {"desirable_weight": method.desirable_weight, "undesirable_weight": method.undesirable_weight}
    return KTOConfig(**told, **weights)


def shared(job: Job, loaded: Loaded, data: Prepared) -> dict[str, Any]:
    """What every method's trainer is told. No hub token stands in it: a checkpoint would write it down in clear."""
    training = job.config.training
    checks = check_every(job, data)
    return {
        **training.model_dump(exclude=OURS),
        "neftune_noise_alpha": training.neftune_noise_alpha or None,
        "lr_scheduler_kwargs": SCHEDULES.get(training.lr_scheduler_type),
        "output_dir": str(job.run_dir / "checkpoints"),
        "train_sampling_strategy": "group_by_length",
        "remove_unused_columns": False,
        "per_device_eval_batch_size": training.per_device_train_batch_size,
        "eval_strategy": "steps" if checks else "no",
        "eval_steps": checks or None,
        "save_strategy": "no",
        # The model itself is in the chosen number format: no autocast, never fp16, which TRL would else turn on.
        "bf16": False,
        "fp16": False,
        "use_cpu": loaded.device.kind == "cpu",
        "activation_checkpointing": False,  # TRL's own default is True, under the old name; `checkpointing.py` does it
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": loaded.device.kind != "cpu",
        "logging_strategy": "steps",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
    }


def examples_per_step(training: TrainingConfig) -> int:
    """Examples of one optimizer step, as the person set them."""
    return training.per_device_train_batch_size * training.gradient_accumulation_steps


def steps_of(job: Job, examples: int) -> int:
    """Optimizer steps of the whole run, as the trainer counts them."""
    training = job.config.training
    batches = math.ceil(examples / training.per_device_train_batch_size)
    each = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    steps = math.ceil(training.num_train_epochs * each)
    return steps if training.max_steps < 0 else training.max_steps


def check_every(job: Job, data: Prepared) -> int:
    """Steps between two checks on the held-out examples; 0 for none."""
    if not len(data.held_out):
        return 0
    train, held = data.train, data.held_out
    return every(job.config.training, steps_of(job, len(train)), len(train), train.tokens, held.tokens)
