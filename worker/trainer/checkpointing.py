"""Activations that are computed again, or kept in main memory, instead of being kept on the device."""

import shutil
from typing import Any

from transformers.modeling_layers import GradientCheckpointingLayer

from studio.core.config import TrainingConfig
from studio.core.errors import Refused
from worker.trainer.attach import causal_of


def save_activations(model: Any, training: TrainingConfig) -> None:
    """Set what `model` keeps between forward and backward. Raises `Refused` for a model that can not do without."""
    kind, base = training.activation_checkpointing, causal_of(model)
    if kind == "none":
        return
    try:
        base.activation_checkpointing_enable(
            {"use_reentrant": False},
            every_n_layers=training.checkpoint_layers if kind == "every_n" else 1,
            offload=kind == "offload",
        )
    except ValueError as error:
        raise Refused(
            "This model can not compute its activations again.", "Choose none.",
            field="training.activation_checkpointing",
        ) from error  # fmt: skip
    # without reentrance nothing needs gradients of the input: they would only make the first blocks work for nothing
    base.disable_input_require_grads()


def compile_blocks(model: Any) -> None:
    """Compile each block by itself: minutes less than the whole, and every path calls the blocks."""
    if not any(shutil.which(name) for name in ("cc", "gcc", "g++", "clang")):
        raise Refused(
            "Compiling a model needs a C compiler, and none is installed here.", "Take compiling back.",
            field="training.torch_compile",
        )  # fmt: skip
    for block in blocks_of(model):
        block.compile(dynamic=True)


def blocks_of(model: Any) -> list[Any]:
    """The repeated blocks of the model, in order."""
    return [module for module in causal_of(model).modules() if isinstance(module, GradientCheckpointingLayer)]
