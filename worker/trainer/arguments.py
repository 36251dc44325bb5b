"""What TRL is told: the config's training group, and everything that TRL would choose by itself."""

import math

from trl import SFTConfig

from studio.core.config import TrainingConfig
from worker.trainer.job import Job
from worker.trainer.load import Loaded
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
CHECKS = 10
MOST_CHECK_SHARE = 0.1  # of the work of a run; a check reads forward only, training does about three times that


def arguments(job: Job, loaded: Loaded, data: Prepared) -> SFTConfig:
    """What TRL is told. No hub token ever stands in it: every checkpoint writes it down in clear."""
    training = job.config.training
    passed = training.model_dump(exclude=OURS)
    if training.path == "fast":  # one batch a step, which `FastTuner` splits by tokens
        passed |= {"per_device_train_batch_size": examples_per_step(training), "gradient_accumulation_steps": 1}
    checks = check_every(job, data)
    return SFTConfig(
        **passed,
        output_dir=str(job.run_dir / "checkpoints"),
        max_length=None,  # the examples are cut already
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        per_device_eval_batch_size=training.per_device_train_batch_size,
        eval_strategy="steps" if checks else "no",
        eval_steps=checks or None,
        save_strategy="no",
        # The model itself is in the chosen number format: no autocast, never fp16, which TRL would else turn on.
        bf16=False,
        fp16=False,
        use_cpu=loaded.device.kind == "cpu",
        activation_checkpointing=False,  # TRL's own default is True, under the old name
        optim="adamw_torch_fused",
        dataloader_num_workers=0,
        dataloader_pin_memory=loaded.device.kind != "cpu",
        logging_strategy="steps",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )


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
    """Steps between two checks on the held-out examples; 0 for none.

    Where the person sets none: ten checks a run, fewer where they would cost more than a tenth of the work.
    """
    if not len(data.held_out):
        return 0
    if job.config.training.eval_steps:
        return job.config.training.eval_steps
    work = 3 * data.train.tokens * job.config.training.num_train_epochs
    checks = max(1, min(CHECKS, int(MOST_CHECK_SHARE * work / max(1, data.held_out.tokens))))
    return max(1, math.ceil(steps_of(job, len(data.train)) / checks))
