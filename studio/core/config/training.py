"""The training loop, as `trl.SFTConfig` and transformers' `TrainingArguments` take it."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from studio.core.config.knob import Finite, Group, knob

LENGTH, BATCH, OPTIMIZER = "Length", "Batch", "Learning rate and optimizer"
SPEED, CHECKS, RECORDS = "Memory and speed", "Checks and stopping", "Seed and records"


def _some_steps(value: int) -> int:
    if value == 0:
        raise ValueError("0 steps learn nothing")
    return value


class TrainingConfig(Group):
    """The training loop, as `trl.SFTConfig` takes it."""

    num_train_epochs: Finite = knob(
        3, "Epochs", "How often each example is read. More takes longer and learns closer, by heart in the end.",
        level="basic", part=LENGTH, gt=0, le=1000,
    )  # fmt: skip
    max_steps: Annotated[int, AfterValidator(_some_steps)] = knob(
        -1, "Most steps", "Ends after so many steps, whatever the epochs: bounds the time. -1 lets the epochs decide.",
        unit="steps", part=LENGTH, ge=-1, le=10_000_000,
    )  # fmt: skip
    learning_rate: Finite = knob(
        2e-4, "Learning rate", "Lower learns more calmly. LoRA likes 0.0001 to 0.0005, full fine-tuning a tenth of it.",
        level="basic", part=OPTIMIZER, gt=0, le=0.1,
    )  # fmt: skip
    per_device_train_batch_size: int = knob(
        8, "Examples at once", "A step learns from so many examples, times Batches per step. More is steadier and "
        "makes fewer steps. Where answers are learnt the studio splits them so that they fit.",
        unit="examples", part=BATCH, ge=1, le=1024,
    )  # fmt: skip
    gradient_accumulation_steps: int = knob(
        1, "Batches per step", "Gradients of so many batches make one step: a larger batch without its memory.",
        part=BATCH, ge=1, le=1024,
    )  # fmt: skip
    micro_batch_tokens: int = knob(
        0, "Tokens at once", "How much of a step is read at once. Less needs less memory and is slower; 0 lets the "
        "studio choose. The result stays the same.",
        unit="tokens", part=BATCH, ge=0, le=1_000_000,
    )  # fmt: skip
    path: Literal["fast", "trl"] = knob(
        "fast",
        "Training path",
        "The same gradients either way; TRL's as it comes is slower and needs more memory.",
        part=SPEED,
        names={"fast": "The studio's own, fast", "trl": "TRL's as it comes"},
    )
    max_length: int = knob(
        1024, "Longest example", "Longer ones are cut or left out. Memory grows with it where examples are that long.",
        level="basic", unit="tokens", part=LENGTH, ge=8, le=131072,
    )  # fmt: skip
    overlong: Literal["cut", "drop"] = knob(
        "cut",
        "Too long examples",
        "Cut ones lose their end, and with it when to stop: the quality may suffer. Leaving them out is faster.",
        part=LENGTH,
        names={"cut": "Cut", "drop": "Leave out"},
    )
    packing: bool = knob(
        False,
        "Packing",
        "Puts short examples into one row without their seeing one another: saves time on accelerators.",
        part=LENGTH,
    )
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial", "inverse_sqrt"
    ] = knob(
        "linear",
        "Schedule",
        "How the learning rate falls over the run. Costs nothing.",
        part=OPTIMIZER,
        names={"linear": "Linear", "cosine": "Cosine", "constant": "Constant",
               "constant_with_warmup": "Constant after the warm-up", "cosine_with_restarts": "Cosine with restarts",
               "polynomial": "Polynomial", "inverse_sqrt": "Inverse square root"},
    )  # fmt: skip
    warmup_steps: Finite = knob(
        0.05, "Warm-up", "Steps until the full learning rate; below 1 it is a share of all steps. Calms the start.",
        part=OPTIMIZER, ge=0, le=100_000,
    )  # fmt: skip
    optim: Literal["adamw_torch", "adamw_8bit", "adafactor", "sgd"] = knob(
        "adamw_torch",
        "Optimizer",
        "In 8 bits it needs a quarter of its memory. Adafactor needs less still and learns differently, SGD the least "
        "and the slowest.",
        part=OPTIMIZER,
        names={"adamw_torch": "AdamW", "adamw_8bit": "AdamW in 8 bits", "adafactor": "Adafactor", "sgd": "SGD"},
    )
    weight_decay: Finite = knob(
        0.0, "Weight decay", "Pulls what is trained towards zero: a little helps long runs. Costs nothing.",
        part=OPTIMIZER, ge=0, le=1,
    )  # fmt: skip
    adam_beta1: Finite = knob(
        0.9, "Momentum", "How much of earlier gradients a step keeps (adam_beta1). Costs nothing.",
        part=OPTIMIZER, ge=0, lt=1,
    )  # fmt: skip
    adam_beta2: Finite = knob(
        0.999, "Second moment", "How slowly the step size adapts (adam_beta2). Costs nothing.",
        part=OPTIMIZER, ge=0, lt=1,
    )  # fmt: skip
    adam_epsilon: Finite = knob(
        1e-8, "Epsilon", "Keeps tiny gradients from huge steps (adam_epsilon). Costs nothing.",
        part=OPTIMIZER, gt=0, le=0.1,
    )  # fmt: skip
    max_grad_norm: Finite = knob(
        1.0, "Clipping", "Longest gradient of a step; lower is calmer and slower to learn. Costs nothing.",
        part=OPTIMIZER, gt=0, le=1000,
    )  # fmt: skip
    neftune_noise_alpha: Finite = knob(
        0.0, "Noise on the input", "NEFTune: 5 often helps small chat datasets; 0 is off. Costs nothing.",
        part=OPTIMIZER, ge=0, le=100,
    )  # fmt: skip
    activation_checkpointing: Literal["none", "every_n", "full", "offload"] = knob(
        "none",
        "Compute again instead of keeping",
        "All blocks: far less memory, about a third slower. In main memory: for accelerators. The result stays the "
        "same.",
        part=SPEED,
        names={"none": "Keep everything", "every_n": "Every n-th block", "full": "All blocks",
               "offload": "Keep it in main memory"},
    )  # fmt: skip
    checkpoint_layers: int = knob(
        2, "Every n-th block", "Each n-th block is computed again: fewer need more memory and are faster. 1 is all.",
        unit="blocks", part=SPEED, ge=1, le=256,
    )  # fmt: skip
    torch_compile: bool = knob(
        False,
        "Compile the model",
        "Minutes at the start, then up to a third faster; for long runs on accelerators.",
        part=SPEED,
    )
    seed: int = knob(42, "Seed", "The same seed repeats the same run. Costs nothing.", part=RECORDS, ge=0, le=2**31 - 1)
    logging_steps: int = knob(
        1, "Log every", "Steps between two points of the charts. Costs nothing.",
        unit="steps", part=RECORDS, ge=1, le=10_000,
    )  # fmt: skip
    eval_share: Finite = knob(
        0.1, "Held out", "Share of the examples kept back to check, where the dataset names none itself. They are not "
        "learnt, and take a little time at each check.",
        part=CHECKS, ge=0, le=0.5,
    )  # fmt: skip
    eval_steps: int = knob(
        0, "Check every", "Steps between two checks on held-out examples: more often takes time. 0 checks about ten "
        "times a run.",
        unit="steps", part=CHECKS, ge=0, le=1_000_000,
    )  # fmt: skip
    early_stopping_patience: int = knob(
        0, "Stop when it stops helping", "Ends after so many checks without a better one: saves time. 0 goes on to "
        "the end.",
        unit="checks", part=CHECKS, ge=0, le=1000,
    )  # fmt: skip
    load_best_model_at_end: bool = knob(
        False,
        "Keep the best",
        "The adapter of the best check is what you get, not the last. Costs one checkpoint of disk.",
        part=CHECKS,
    )
    checkpoint_seconds: Finite = knob(
        0, "Checkpoint every", "A run that is cut off goes on from its newest one. More often costs time and disk; 0 "
        "takes the studio's own pace.",
        unit="s", part=RECORDS, ge=0, le=86_400,
    )  # fmt: skip
    predict_with_generate: bool = knob(
        False,
        "Answer held-out examples",
        "Base and tuned model answer them at the end, and exact matches are counted: takes minutes on a processor.",
        part=CHECKS,
    )
