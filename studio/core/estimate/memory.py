"""The most memory that a run takes, by part, from what a dry run counted. Pure arithmetic, in bytes.

Four moments can be the highest one: the model is being loaded, held-out examples are read, a micro-batch goes through
the model, the optimizer steps. What stands beside them at each moment is the same.
"""

from dataclasses import dataclass, fields, replace

from studio.core.config import RunConfig
from studio.core.config.rules import blocks as numbers_of
from studio.core.estimate.terms import Counted, Shape, Weights
from studio.core.microbatches import OPTIMIZED_AT_ONCE
from studio.core.model_build import Build

SIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
# Bytes a weight in fewer bits, its scales included: one for each 64 weights (in 8 bits if quantized once more), or row.
PACKED = {"int8": 1.0, "nf4": 0.5 + 4 / 64, "nf4 twice": 0.5 + 1 / 64 + 4 / (64 * 256)}
# Bytes a trained weight that an optimizer keeps from step to step, beside the masters.
STATES = {"adamw_torch": 8.0, "adamw_8bit": 2.1, "adafactor": 4.1, "sgd": 4.0}
# What a process on a processor takes beyond its tensors, fitted to the runs of `python -m tests.bench.memory`:
# code and buffers of torch that are touched for the first time, what stands for each block beside its tensors, and the
# holes that the C library leaves between blocks of memory.
PROCESS = 90_000_000
BLOCK = 3_000_000
HOLES = 0.07
AGAIN = 2  # of what a block takes and gives back, in place of BLOCK, where blocks keep nothing and are run again
# Where micro-batches are of many widths the processor's library keeps kernels for each, and blocks of many sizes leave
# more holes: measured over 60 steps of ragged examples with the starter model.
VARIED = 250_000_000


@dataclass(frozen=True)
class Memory:
    """Bytes at the highest moment, by part."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    saved: int
    logits: int
    scratch: int

    @property
    def total(self) -> int:
        """All parts."""
        return sum(getattr(self, part.name) for part in fields(self))

    @property
    def trained(self) -> int:
        """What is kept for all that is trained: adapter, gradients, optimizer."""
        return self.adapter + self.gradients + self.optimizer

    @property
    def working(self) -> int:
        """What comes and goes with each micro-batch."""
        return self.saved + self.logits + self.scratch


@dataclass(frozen=True)
class Load:
    """What a run reads at once: the largest micro-batches of a step, and the largest of a check (None: no check).

    `is_varied`: many micro-batches of many widths.
    """

    steps: tuple[Shape, ...]
    check: Shape | None
    is_varied: bool = False


def memory(config: RunConfig, dtype: str, counted: Counted, blocks: int, load: Load, processor: bool = True) -> Memory:
    """The run's peak. `dtype` is the number format that the machine takes, `blocks` how many the model has."""
    size, trained = SIZE[dtype], trained_of(config, counted.weights, blocks)
    unpacked = size * counted.weights.largest if config.base.quantization != "none" else 0
    masters = 4 * trained if dtype == "bfloat16" else 0
    beside = Memory(
        weights=weights_bytes(config, dtype, counted.weights, blocks),
        # and a copy of its first weights, to tell whether it changed
        adapter=0 if config.adapter.tuner == "full" else 2 * size * trained,
        gradients=0,
        optimizer=round(STATES[config.training.optim] * trained) + masters,
        saved=0,
        logits=0,
        scratch=0,
    )
    learning = replace(beside, gradients=size * trained)
    moments = [
        replace(beside, optimizer=0, scratch=unpacked),
        _checking(counted, load, beside, unpacked),
        *(_stepping(counted, blocks, shape, learning, unpacked) for shape in load.steps),
        replace(learning, scratch=4 * _at_once(trained, counted.weights) if masters else 0),
    ]
    highest = max(moments, key=lambda moment: moment.total)
    if not processor:
        return highest
    # a model trained whole has an optimizer of large tensors, which come in the middle of the first step
    holed = highest.gradients + highest.working + (highest.optimizer if config.adapter.tuner == "full" else 0)
    more = PROCESS + HOLES * holed + _of_blocks(config, counted, blocks, load)
    more += VARIED if load.is_varied else 0
    return replace(highest, scratch=highest.scratch + round(more))


def weights_bytes(config: RunConfig, dtype: str, found: Weights, blocks: int) -> int:
    """The base model as it stands in memory."""
    size, twice = SIZE[dtype], config.base.bnb_4bit_use_double_quant
    kind = "nf4 twice" if config.base.quantization == "nf4" and twice else config.base.quantization
    packed = found.block_packed * blocks if kind != "none" else 0
    whole = found.once + found.block * blocks - packed
    return size * whole + round(PACKED.get(kind, 0) * packed)


def trained_of(config: RunConfig, found: Weights, blocks: int) -> int:
    """How many numbers a step changes."""
    chosen = len(numbers_of(config.adapter.layers_to_transform)) if config.adapter.tuner == "lora" else 0
    return found.once_trained + found.block_trained * min(blocks, chosen or blocks)


def _stepping(counted: Counted, blocks: int, shape: Shape, beside: Memory, unpacked: int) -> Memory:
    """The highest moment of a micro-batch. Gradients that stand from the beginning are in what was counted."""
    saved = counted.most("saved", shape, blocks)
    body = counted.most("body", shape, blocks) + unpacked
    head = counted.most("head", shape, blocks) + unpacked  # the heap keeps the place of the last one
    backward = counted.most("backward", shape, blocks) + unpacked
    most = max(body, head, backward)
    gradients = beside.gradients if counted.accumulates or most == backward else 0
    rest = max(0, most - saved - gradients)
    logits = rest if most == head else 0
    saved = min(saved, most - gradients - rest)
    return replace(beside, gradients=gradients, saved=max(0, saved), logits=logits, scratch=rest - logits)


def _at_once(trained: int, found: Weights) -> int:
    """Numbers that the optimizer takes in float32 at once: a part, or a tensor that is larger."""
    return min(trained, max(OPTIMIZED_AT_ONCE + found.largest, found.once_trained))


def _checking(counted: Counted, load: Load, beside: Memory, unpacked: int) -> Memory:
    """The highest moment of a check on held-out examples; one block at a time holds anything."""
    if load.check is None:
        return beside
    body = counted.most("check_body", load.check, 1) + unpacked
    head = counted.most("check_head", load.check, 1)
    return replace(beside, logits=head) if head > body else replace(beside, scratch=body)


def _of_blocks(config: RunConfig, counted: Counted, blocks: int, load: Load) -> int:
    """What stands for the blocks beside their tensors."""
    if config.training.activation_checkpointing == "none":
        return BLOCK * blocks
    return AGAIN * max(counted.most("body", one, blocks) - counted.most("saved", one, blocks) for one in load.steps)


def trained_numbers(config: RunConfig, build: Build) -> int:
    """How many numbers a run trains, from the model's shapes alone: before a dry run counted them."""
    adapter, shapes = config.adapter, build.shapes
    whole = sum(out * into for out, into in shapes.values()) * build.layers
    ends = build.vocab_size * build.hidden_size
    if adapter.tuner == "full":
        return whole + ends * (1 if build.tied else 2)
    wanted = {name.strip() for name in adapter.target_modules.split(",")}
    chosen = shapes if "all-linear" in wanted else {name: one for name, one in shapes.items() if name in wanted}
    one = sum(adapter.r * (out + into) + (out if adapter.use_dora else 0) for out, into in chosen.values())
    saved = len({name.strip() for name in adapter.modules_to_save.split(",")} & {"lm_head", "embed_tokens"})
    return one * (len(numbers_of(adapter.layers_to_transform)) or build.layers) + saved * ends


def least(config: RunConfig, dtype: str, build: Build, load: Load) -> tuple[int, int]:
    """Bytes that a run surely takes and hardly exceeds, from the model's shape alone: until a dry run is there."""
    size, shapes = SIZE[dtype], list(build.shapes.values())
    packed = sum(out * into for out, into in shapes) * build.layers
    whole = build.vocab_size * build.hidden_size * (1 if build.tied else 2)
    weights = Weights(packed // max(1, build.layers), packed // max(1, build.layers), whole, 0, 0, 0)
    low = weights_bytes(config, dtype, weights, build.layers) + PROCESS
    low += round((size + STATES[config.training.optim]) * trained_numbers(config, build))
    # numbers that a token leaves behind in a block, counted in blocks of several families
    token = size * (15 * build.hidden_size + 8 * build.intermediate_size)
    kept = build.layers if config.training.activation_checkpointing == "none" else 2
    step = load.steps[0]
    moving = step.tokens * token * kept + min(step.learnt, 1024) * build.vocab_size * 12
    return low + moving // 3, low + 2 * moving
