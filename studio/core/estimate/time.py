"""Steps, tokens and time of a run. Pure arithmetic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from studio.core.config import TrainingConfig

# Share of a processor's matrix speed that training with LoRA reaches, for a machine without finished runs: the starter
# model by `tests.bench.training`, 0.32 and 0.26 in bfloat16 on even and ragged examples, 0.64 in float32 on even ones.
EFFICIENCY = {"bfloat16": 0.33, "float32": 0.5, "float16": 0.2}
START_SECONDS = 20.0


@dataclass(frozen=True)
class Plan:
    """Steps and tokens of a run. `tokens` counts every reading of every example."""

    examples: int
    held_out: int
    steps_per_epoch: int
    steps: int
    tokens: int


def plan(training: TrainingConfig, examples: int, held_out: int, tokens: int) -> Plan:
    """`examples` are learnt from, `tokens` is their sum after cutting."""
    batches = math.ceil(examples / training.per_device_train_batch_size)
    per_epoch = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    steps = training.max_steps if training.max_steps > 0 else max(1, math.ceil(per_epoch * training.num_train_epochs))
    epochs = steps / per_epoch if training.max_steps > 0 else training.num_train_epochs
    return Plan(examples, held_out, per_epoch, steps, round(tokens * epochs))


def tokens_per_second(parameters: int, matmul: Mapping[str, float], dtype: str = "auto") -> float | None:
    """Expected training speed from this machine's matrix speed (GFLOP/s by dtype): LoRA needs 4N operations a token.

    None where nothing was measured.
    """
    usable = {name: speed for name, speed in matmul.items() if name in EFFICIENCY and name != "float16"}
    if not usable or parameters <= 0:
        return None
    fastest = dtype if dtype in usable else max(usable, key=lambda name: usable[name])
    return usable[fastest] * 1e9 * EFFICIENCY[fastest] / (4 * parameters)


def seconds(tokens: int, speed: float | None) -> float | None:
    """Time from Start to the end; None where the speed is unknown."""
    return START_SECONDS + tokens / speed if speed else None


def seconds_left(step: int, steps: int, elapsed: float) -> float | None:
    """Time to the last step, from the time that `step` steps took; None before the second step."""
    return elapsed / step * (steps - step) if step > 1 and elapsed > 0 else None
