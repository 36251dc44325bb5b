"""Whether a run fits, and the nearest change of its config that makes it fit. Pure arithmetic."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from studio.core.config import RunConfig, clashes
from studio.core.microbatches import splits

Ask = Callable[[RunConfig], int | None]
LEAST_TOKENS = 256
LEAST_LENGTH = 256


@dataclass(frozen=True)
class Change:
    """A part of the config (nested by group) that is set anew, and what a button says of it."""

    part: dict[str, dict[str, Any]]
    words: str

    def on(self, config: RunConfig) -> RunConfig:
        """`config` with it."""
        groups = {name: getattr(config, name).model_copy(update=values) for name, values in self.part.items()}
        return config.model_copy(update=groups)


def nearest(config: RunConfig, room: int, bytes_of: Ask, longest: int) -> Change | None:
    """The first change, in the order of what it costs the person, with which the run takes at most `room` bytes.

    `bytes_of` forecasts a config, None where that is not known; `longest` counts the tokens of the longest example.
    """
    for change in candidates(config, longest):
        changed = change.on(config)
        if clashes(changed):
            continue
        needed = bytes_of(changed)
        if needed is not None and needed <= room:
            return change
    return None


def candidates(config: RunConfig, longest: int) -> Iterator[Change]:
    """Changes by what they cost: first those that cost only time, then those that change what is learnt."""
    yield from _smaller_micro_batches(config, longest)
    if config.training.activation_checkpointing == "none":
        yield _again(config)
    if config.base.quantization == "none" and config.adapter.tuner == "lora" and not _pissa(config):
        four = {"base": {"quantization": "nf4"}}
        yield Change(four, "Load the base model in 4 bits")
        if config.training.activation_checkpointing == "none":
            yield Change({**four, **_again(config).part}, "Load it in 4 bits and compute activations again")
    yield from _both(config, longest)
    if config.adapter.tuner == "full":
        yield Change({"adapter": {"tuner": "lora"}}, "Train an adapter instead of the whole model")


def _smaller_micro_batches(config: RunConfig, longest: int) -> Iterator[Change]:
    """The same examples a step, fewer at once."""
    training = config.training
    if not splits(config):
        size, times = training.per_device_train_batch_size, training.gradient_accumulation_steps
        while size > 1 and size % 2 == 0:
            size, times = size // 2, times * 2
            part = {"training": {"per_device_train_batch_size": size, "gradient_accumulation_steps": times}}
            yield Change(part, f"Read {size} {'example' if size == 1 else 'examples'} at once, in steps as large")
        return
    tokens = training.micro_batch_tokens or 1024
    while tokens > max(LEAST_TOKENS, longest):
        tokens = max(tokens // 2, LEAST_TOKENS, longest)
        yield Change({"training": {"micro_batch_tokens": tokens}}, f"Read {tokens:,} tokens at once, in steps as large")


def _again(_config: RunConfig) -> Change:
    return Change({"training": {"activation_checkpointing": "full"}}, "Compute activations again instead of keeping")


def _both(config: RunConfig, longest: int) -> Iterator[Change]:
    """Shorter examples; what is longer is cut or left out, as the config says."""
    length = min(config.training.max_length, longest)
    while length > LEAST_LENGTH:
        length = max(LEAST_LENGTH, length // 2)
        fewer = {"micro_batch_tokens": length} if splits(config) else {}
        part: dict[str, dict[str, Any]] = {"training": {"max_length": length, **fewer}}
        yield Change(part, f"Keep examples to {length:,} tokens")
        if config.training.activation_checkpointing == "none":
            both = {**part["training"], **_again(config).part["training"]}
            part = {"training": both}
            if config.base.quantization == "none" and config.adapter.tuner == "lora" and not _pissa(config):
                part["base"] = {"quantization": "nf4"}
            yield Change(part, f"Take 4 bits and examples of {length:,} tokens" if "base" in part else
                         f"Compute again, and keep examples to {length:,} tokens")  # fmt: skip


def _pissa(config: RunConfig) -> bool:
    return config.adapter.init_lora_weights == "pissa"
