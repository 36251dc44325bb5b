"""What a run writes to the disk. Pure arithmetic, in bytes."""

from dataclasses import dataclass

from studio.core.config import RunConfig
from studio.core.estimate.memory import SIZE, STATES, trained_numbers
from studio.core.model_build import Build

BESIDE = 12_000_000
"""A tokenizer with its template, and the log: they stand beside whatever a run publishes."""


@dataclass(frozen=True)
class Written:
    """Bytes of what is `published` and of one `checkpoint`; `most` checkpoints stand there at once.

    `fetched` are those of a base model that is not here yet.
    """

    published: int
    checkpoint: int
    most: int
    fetched: int = 0

    @property
    def checkpoints(self) -> int:
        """All that stand there at once."""
        return self.checkpoint * self.most

    @property
    def needed(self) -> int:
        """Without these the run does not end well; checkpoints that find no room are left out."""
        return self.published + self.fetched

    @property
    def total(self) -> int:
        """All of it at the fullest moment."""
        return self.needed + self.checkpoints


def written(config: RunConfig, dtype: str, build: Build, most: int, fetched: int = 0) -> Written:
    """What a run writes; `most` checkpoints stand there at its fullest moment."""
    trained = trained_numbers(config, build)
    masters = 4 if dtype == "bfloat16" else 0
    twice = 2 if config.adapter.init_lora_weights == "pissa" and config.adapter.tuner == "lora" else 1
    checkpoint = round((SIZE[dtype] + masters + STATES[config.training.optim]) * trained)
    return Written(BESIDE + twice * SIZE[dtype] * trained, checkpoint, most, fetched)
