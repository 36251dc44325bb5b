"""Settings that do not go together: each pair with its sentence and the way out. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from studio.core.errors import Fault

MOST_BLOCKS = 1000


def clashes(config: Any) -> list[Fault]:
    """Everything of a whole `RunConfig` that does not go together, each fault at the field to change."""
    return [*_full(config), *_adapter(config), *_method(config), *_training(config)]


def blocks(text: str) -> tuple[int, ...]:
    """The block numbers of `layers_to_transform` ("0-5, 8"), sorted. Raises ValueError where it is no such list."""
    found: set[int] = set()
    for part in filter(None, (one.strip() for one in text.split(","))):
        match = re.fullmatch(r"(\d{1,4})(?:\s*-\s*(\d{1,4}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= MOST_BLOCKS:
            raise ValueError(part)
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def _full(config: Any) -> Iterator[Fault]:
    adapter, base = config.adapter, config.base
    if adapter.tuner != "full":
        return
    if base.quantization != "none":
        words = "Full fine-tuning can not train a base model in fewer bits."
        yield Fault("base.quantization", words, "Load it as it is (none), or train an adapter (lora).")
    for name, on, words in (
        ("use_dora", adapter.use_dora, "DoRA"),
        ("use_rslora", adapter.use_rslora, "A rank-stabilised scale"),
        ("init_lora_weights", adapter.init_lora_weights != "default", "PiSSA"),
        ("continue_from", bool(adapter.continue_from), "Continuing from an adapter"),
    ):
        if on:
            yield Fault(f"adapter.{name}", f"{words} needs an adapter; full fine-tuning has none.", "Take it back.")


def _adapter(config: Any) -> Iterator[Fault]:
    adapter = config.adapter
    try:
        blocks(adapter.layers_to_transform)
    except ValueError as error:
        words = f"Which blocks can not be read at {str(error)[:40]!r}."
        yield Fault("adapter.layers_to_transform", words, "Write numbers and ranges with commas, such as 0-5, 8.")
    if adapter.init_lora_weights == "pissa" and adapter.tuner == "lora":
        if adapter.use_dora:
            yield Fault("adapter.use_dora", "DoRA and PiSSA do not go together.", "Take one of the two back.")
        if config.base.quantization != "none":
            words = "PiSSA needs the base model's whole weights, and it is loaded in fewer bits."
            yield Fault("adapter.init_lora_weights", words, "Choose default first weights, or no quantization.")
        if adapter.continue_from:
            words = "An adapter that is continued brings its own first weights; PiSSA would replace them."
            yield Fault("adapter.init_lora_weights", words, "Choose default first weights.")


def _method(config: Any) -> Iterator[Fault]:
    method, training = config.method, config.training
    if method.name == "kto" and training.per_device_train_batch_size < 2:
        words = "KTO compares the examples of a batch with one another, and 1 is too few."
        yield Fault("training.per_device_train_batch_size", words, "Choose 2 or more.")
    if method.name != "sft":
        if training.packing:
            yield Fault(
                "training.packing", f"Packing is for sft; {method.name} compares whole answers.", "Take it back."
            )
        if method.learn != "answers":
            words = f"{method.name} always learns whole answers."
            yield Fault("method.learn", words, "Choose answers, or the method sft.")
    if method.name == "dpo" and method.loss_type == "robust" and not method.label_smoothing:
        words = "The robust loss needs to know how many labels may be wrong."
        yield Fault("method.label_smoothing", words, "Choose a label smoothing above 0, such as 0.1.")
    if method.name == "dpo" and method.label_smoothing and method.loss_type not in ("sigmoid", "robust"):
        words = f"The loss {method.loss_type} knows no label smoothing."
        yield Fault("method.label_smoothing", words, "Choose 0, or the loss sigmoid or robust.")


def _training(config: Any) -> Iterator[Fault]:
    training = config.training
    if training.packing and training.path == "trl":
        words = "Packing belongs to the studio's own training path."
        yield Fault("training.packing", words, "Take it back, or choose the fast path.")
    if 0 < training.max_steps <= training.warmup_steps and training.warmup_steps >= 1:
        words = f"The warm-up of {training.warmup_steps:g} steps is as long as the whole run of {training.max_steps:,}."
        yield Fault("training.warmup_steps", words, "Choose a shorter warm-up, or a share such as 0.05.")
    if training.torch_compile and config.base.quantization != "none":
        words = "A base model in fewer bits can not be compiled."
        yield Fault("training.torch_compile", words, "Take compiling back, or choose no quantization.")
    if training.torch_compile and training.activation_checkpointing == "offload":
        words = "A compiled model can not keep its activations in main memory."
        yield Fault("training.torch_compile", words, "Take one of the two back.")
