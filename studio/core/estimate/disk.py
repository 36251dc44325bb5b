"""The most that a run takes on the disk: what it trains, its checkpoints, its base model. Pure arithmetic, in bytes."""

from dataclasses import dataclass

from studio.core.config import RunConfig
from studio.core.estimate.memory import SIZE, STATES, trained_of
from studio.core.estimate.terms import Weights


@dataclass(frozen=True)
class Disk:
    """What is `trained` (the adapter, or the whole model), all `checkpoints`, and what is `fetched` first."""

    trained: int
    checkpoints: int
    fetched: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.trained + self.checkpoints + self.fetched


def disk(config: RunConfig, dtype: str, found: Weights, blocks: int, checkpoints: int) -> Disk:
    """As many `checkpoints` as are kept, one more while the newest is written, and the best where it is kept.

    Each holds what is trained, in the number format of the machine, and what the optimizer keeps from step to step.
    """
    trained = trained_of(config, found, blocks)
    weights = SIZE[dtype] * trained
    masters = 4 * trained if dtype == "bfloat16" else 0
    each = weights + round(STATES[config.training.optim] * trained) + masters
    twice = 2 if config.adapter.tuner == "lora" and config.adapter.init_lora_weights == "pissa" else 1
    number = checkpoints + 1 + config.training.load_best_model_at_end
    return Disk(twice * weights, number * each)
