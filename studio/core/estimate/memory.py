"""The most memory that a run takes, by part, from what a dry run counted. Pure arithmetic, in bytes.

Four moments can be the highest one: the model is being loaded, held-out examples are read, a micro-batch goes through
the model, the optimizer steps. What stands beside them at each moment is the same.
"""

from dataclasses import dataclass, fields

from studio.core.config import RunConfig
from studio.core.config.rules import blocks as numbers_of
from studio.core.estimate.terms import Counted, Shape, Weights

SIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
# Bytes a weight in fewer bits, its scales included: one for each 64 weights (in 8 bits if quantized once more), or row.
PACKED = {"int8": 1.0, "nf4": 0.5 + 4 / 64, "nf4 twice": 0.5 + 1 / 64 + 4 / (64 * 256)}
# Bytes a trained weight that an optimizer keeps from step to step, beside the masters.
STATES = {"adamw_torch": 8.0, "adamw_8bit": 2.1, "adafactor": 4.1, "sgd": 4.0}
# What a process on a processor takes beyond its tensors, measured by `python -m tests.bench.memory --fit`: code and
# buffers of torch that are touched for the first time, and holes that the C library leaves between blocks of memory.
PROCESS = 60_000_000
HOLES = 0.03


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


@dataclass(frozen=True)
class Load:
    """What a run reads at once: the largest micro-batch of a step, and the largest one of a check (None: no check)."""

    step: Shape
    check: Shape | None


def memory(config: RunConfig, dtype: str, counted: Counted, blocks: int, load: Load, on_processor: bool = True) -> Memory:
    """The run's peak. `dtype` is the number format that the machine takes, `blocks` how many the model has."""
    size, trained = SIZE[dtype], trained_of(config, counted.weights, blocks)
    full = config.adapter.tuner == "full"
    weights = weights_bytes(config, dtype, counted.weights, blocks)
    adapter = 0 if full else 2 * size * trained  # and a copy of its first weights, to tell whether it changed
    masters = 4 * trained if dtype == "bfloat16" else 0
    optimizer = round(STATES[config.training.optim] * trained) + masters
    moments = [
        Memory(weights, adapter, 0, 0, 0, 0, loading(config, dtype, counted.weights, blocks)),
        _checking(counted, blocks, load, Memory(weights, adapter, 0, optimizer, 0, 0, 0), packed_scratch(config, dtype, counted)),
        _stepping(counted, blocks, load.step, Memory(weights, adapter, size * trained, optimizer, 0, 0, 0), packed_scratch(config, dtype, counted)),
        Memory(weights, adapter, size * trained, optimizer, 0, 0, 4 * trained if masters else 0),
    ]
    highest = max(moments, key=lambda moment: moment.total)
    return _with_process(highest) if on_processor else highest


def weights_bytes(config: RunConfig, dtype: str, found: Weights, blocks: int) -> int:
    """The base model as it stands in memory."""
    size, kind = SIZE[dtype], config.base.quantization
    packed = found.block_packed * blocks if kind != "none" else 0
    if kind == "nf4" and config.base.bnb_4bit_use_double_quant:
        kind = "nf4 twice"
    whole = found.once + found.block * blocks - packed
    return size * whole + round(PACKED.get(kind, 0) * packed)


def trained_of(config: RunConfig, found: Weights, blocks: int) -> int:
    """How many numbers a step changes."""
    chosen = len(numbers_of(config.adapter.layers_to_transform)) if config.adapter.tuner == "lora" else 0
    return found.once_trained + found.block_trained * min(blocks, chosen or blocks)


def loading(config: RunConfig, dtype: str, found: Weights, blocks: int) -> int:
    """What loading takes beside the model: one layer as it was on disk, before it is packed."""
    return SIZE[dtype] * found.largest if config.base.quantization != "none" else 0


def packed_scratch(config: RunConfig, dtype: str, counted: Counted) -> int:
    """A layer in fewer bits is unpacked for each of its products."""
    return SIZE[dtype] * counted.weights.largest if config.base.quantization != "none" else 0


def _stepping(counted: Counted, blocks: int, shape: Shape, beside: Memory, unpacked: int) -> Memory:
    """The highest moment of a micro-batch. Gradients that stand from the beginning are in what was counted."""
    saved = counted.saved.at(shape, blocks, counted.chunk)
    body = counted.body.at(shape, blocks, counted.chunk) + unpacked
    head = counted.head.at(shape, blocks, counted.chunk)
    backward = counted.backward.at(shape, blocks, counted.chunk) + unpacked
    most = max(body, head, backward)
    gradients = beside.gradients if counted.accumulates or most == backward else 0
    rest = max(0, most - saved - gradients)
    logits = rest if most == head else 0
    saved = min(saved, most - gradients - rest)
    return Memory(
        beside.weights, beside.adapter, gradients, beside.optimizer, max(0, saved), logits, rest - logits
    )


def _checking(counted: Counted, blocks: int, load: Load, beside: Memory, unpacked: int) -> Memory:
    if load.check is None:
        return beside
    body = counted.check_body.at(load.check, 1, counted.chunk) + unpacked
    head = counted.check_head.at(load.check, 1, counted.chunk)
    logits, scratch = (head, 0) if head > body else (0, body)
    return Memory(beside.weights, beside.adapter, 0, beside.optimizer, 0, logits, scratch)


def _with_process(found: Memory) -> Memory:
    """As the system counts it."""
    moving = found.gradients + found.saved + found.logits + found.scratch
    more = PROCESS + round(HOLES * moving)
    return Memory(
        found.weights, found.adapter, found.gradients, found.optimizer, found.saved, found.logits, found.scratch + more
    )
