"""What to change after a failure so that the next run may succeed: one click. Pure."""

from dataclasses import dataclass
from typing import Any

from studio.core.config import parse_config
from studio.core.errors import Faults

MEMORY = {"out_of_memory", "host_out_of_memory", "device_out_of_memory"}
CALMER = 0.25
SHORTEST = 128


@dataclass(frozen=True)
class Change:
    """A part of a config, nested by group, with its words: "half the examples at once"."""

    words: str
    config: dict[str, dict[str, Any]]


def change_for(reason: str | None, config: dict[str, Any]) -> Change | None:
    """The nearest change that helps against `reason`; None where none of the config's would."""
    try:
        training = parse_config(config).training
    except Faults:
        return None
    if reason in MEMORY and training.per_device_train_batch_size > 1:
        half = training.per_device_train_batch_size // 2
        rest = -(-training.per_device_train_batch_size // half) * training.gradient_accumulation_steps
        smaller = {"per_device_train_batch_size": half, "gradient_accumulation_steps": min(rest, 1024)}
        return Change("half the examples at once", {"training": smaller})
    if reason in MEMORY and training.max_length // 2 >= SHORTEST:
        return Change(f"examples cut to {training.max_length // 2:,} tokens", {"training": _half_length(training)})
    if reason == "diverged":
        rate = float(f"{training.learning_rate * CALMER:.2g}")
        return Change(f"a learning rate of {rate:g}", {"training": {"learning_rate": rate}})
    return None


def _half_length(training: Any) -> dict[str, int]:
    return {"max_length": training.max_length // 2}


def changed(config: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`config` with `change` merged in, group by group."""
    return {**config, **{group: {**config.get(group, {}), **values} for group, values in change.items()}}
