"""What a run writes to the disk. Pure arithmetic, in bytes."""

from dataclasses import dataclass

from studio.core.config import RunConfig
from studio.core.config.rules import blocks
from studio.core.estimate.memory import SIZE, STATES
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


def trained_numbers(config: RunConfig, build: Build) -> int:
    """How many numbers a run trains, from the model's shapes alone."""
    adapter, shapes = config.adapter, build.shapes
    whole = sum(out * into for out, into in shapes.values()) * build.layers
    ends = build.vocab_size * build.hidden_size
    if adapter.tuner == "full":
        return whole + ends * (1 if build.tied else 2)
    wanted = {name.strip() for name in adapter.target_modules.split(",")}
    chosen = shapes if "all-linear" in wanted else {name: one for name, one in shapes.items() if name in wanted}
    one = sum(adapter.r * (out + into) + (out if adapter.use_dora else 0) for out, into in chosen.values())
    saved = len({name.strip() for name in adapter.modules_to_save.split(",")} & {"lm_head", "embed_tokens"})
    return one * (len(blocks(adapter.layers_to_transform)) or build.layers) + saved * ends
