"""The training loop, as `trl.SFTConfig` and transformers' `TrainingArguments` take it."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from studio.core.config.knob import Finite, Group, knob


def _some_steps(value: int) -> int:
    if value == 0:
        raise ValueError("0 steps learn nothing")
    return value


class TrainingConfig(Group):
    """The training loop, as `trl.SFTConfig` takes it."""

    num_train_epochs: Finite = knob(
        3, "Epochs", "How often each example is read. More learns closer, and by heart in the end.", level="basic",
        gt=0, le=1000,
    )  # fmt: skip
    max_steps: Annotated[int, AfterValidator(_some_steps)] = knob(
        -1, "Most steps", "Ends after so many steps, whatever the epochs; -1 lets the epochs decide.",
        unit="steps", ge=-1, le=10_000_000,
    )  # fmt: skip
    learning_rate: Finite = knob(
        2e-4, "Learning rate", "Lower learns more calmly. LoRA likes 0.0001 to 0.0005, full fine-tuning a tenth of it.",
        level="basic", gt=0, le=0.1,
    )  # fmt: skip
    per_device_train_batch_size: int = knob(
        8, "Examples at once", "With Batches per step: examples per step. The studio splits them so that they fit.",
        unit="examples", ge=1, le=1024,
    )  # fmt: skip
    gradient_accumulation_steps: int = knob(
        1, "Batches per step", "Gradients of so many batches make one step: a larger batch without its memory.",
        ge=1, le=1024,
    )  # fmt: skip
    micro_batch_tokens: int = knob(
        0, "Tokens at once", "How much of a step is read at once; 0 lets the studio choose. Less needs less memory.",
        unit="tokens", ge=0, le=1_000_000,
    )  # fmt: skip
    path: Literal["fast", "trl"] = knob(
        "fast", "Training path", "fast is the studio's own, with the same gradients; trl is TRL's as it comes, slower."
    )
    max_length: int = knob(
        1024, "Longest example", "Longer ones are cut or left out (overlong). Memory grows with it.",
        level="basic", unit="tokens", ge=8, le=131072,
    )  # fmt: skip
    overlong: Literal["cut", "drop"] = knob(
        "cut", "Too long examples", "cut loses their end, and with it when to stop; drop leaves them out whole."
    )
    packing: bool = knob(
        False,
        "Packing",
        "Puts short examples into one row without their seeing one another: saves time on accelerators.",
    )
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial", "inverse_sqrt"
    ] = knob("linear", "Schedule", "How the learning rate falls over the run. Costs nothing.")
    warmup_steps: Finite = knob(
        0.05, "Warm-up", "Steps until the full learning rate; below 1 it is a share of all steps.", ge=0, le=100_000
    )
    optim: Literal["adamw_torch", "adamw_8bit", "adafactor", "sgd"] = knob(
        "adamw_torch",
        "Optimizer",
        "adamw_8bit keeps its memory in 8 bits: a quarter. adafactor keeps less still and learns differently.",
    )
    weight_decay: Finite = knob(0.0, "Weight decay", "Pulls the adapter's weights towards zero.", ge=0, le=1)
    adam_beta1: Finite = knob(0.9, "Momentum", "How much of earlier gradients a step keeps (adam_beta1).", ge=0, lt=1)
    adam_beta2: Finite = knob(0.999, "Second moment", "How slowly the step size adapts (adam_beta2).", ge=0, lt=1)
    adam_epsilon: Finite = knob(1e-8, "Epsilon", "Keeps tiny gradients from huge steps (adam_epsilon).", gt=0, le=0.1)
    max_grad_norm: Finite = knob(1.0, "Clipping", "Longest gradient of a step; lower is calmer.", gt=0, le=1000)
    neftune_noise_alpha: Finite = knob(
        0.0, "Noise on the input", "NEFTune: 5 often helps small chat datasets; 0 is off. Costs nothing.", ge=0, le=100
    )
    activation_checkpointing: Literal["none", "every_n", "full", "offload"] = knob(
        "none",
        "Compute again instead of keeping",
        "full keeps one state a block: far less memory, about a third slower. every_n: every n-th block. "
        "offload: keeps it in main memory instead (accelerators).",
    )
    checkpoint_layers: int = knob(
        2,
        "Every n-th block",
        "With every_n: each n-th block is computed again. 1 is full.",
        unit="blocks",
        ge=1,
        le=256,
    )
    torch_compile: bool = knob(
        False, "Compile the model", "Minutes at the start, then up to a third faster; for long runs on accelerators."
    )
    seed: int = knob(42, "Seed", "The same seed repeats the same run.", ge=0, le=2**31 - 1)
    logging_steps: int = knob(1, "Log every", "Steps between two points of the charts.", unit="steps", ge=1, le=10_000)
    eval_share: Finite = knob(
        0.1, "Held out", "Share of the examples kept back to check, where the dataset names none itself.", ge=0, le=0.5
    )
    eval_steps: int = knob(
        0, "Check every", "Steps between two checks on held-out examples; 0 checks about ten times a run.",
        unit="steps", ge=0, le=1_000_000,
    )  # fmt: skip
    early_stopping_patience: int = knob(
        0, "Stop when it stops helping", "Ends after so many checks without a better one; 0 goes on to the end.",
        unit="checks", ge=0, le=1000,
    )  # fmt: skip
    load_best_model_at_end: bool = knob(
        False,
        "Keep the best",
        "The adapter of the best check is what you get, not the last. Costs one checkpoint of disk.",
    )
    checkpoint_seconds: Finite = knob(
        0, "Checkpoint every", "A run that is cut off goes on from its newest one; 0 takes the studio's own pace.",
        unit="s", ge=0, le=86_400,
    )  # fmt: skip
    predict_with_generate: bool = knob(
        False, "Answer held-out examples", "Base and tuned model answer them at the end, and exact matches are counted."
    )
