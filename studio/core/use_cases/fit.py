"""Whether a run fits this machine: memory by part against what is free, and the nearest change that fits."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from studio.core.config import RunConfig
from studio.core.estimate.fitting import Change, nearest
from studio.core.estimate.memory import Load, Memory, least, memory
from studio.core.estimate.terms import VERSION, Counted, Shape, counted_of
from studio.core.microbatches import BLOCKS_UP_TO, CHECK_TOKENS, most_tokens, splits, token_budget
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.use_cases.experience import Experience, experience

KEPT_FREE = 1024**3
"""Left to everything else, at most an eighth of the memory."""


@dataclass(frozen=True)
class Machine:
    """Where the run will go. Bytes: `free` now, `total`, and `kept` free; `dtype` is the number format of `auto`."""

    kind: str
    dtype: str
    free: int
    total: int
    kept: int


@dataclass(frozen=True)
class Fit:
    """The verdict. `found` is None while a dry run is not done: then it lies between `low` and `high`, in bytes.

    `plain` is what was forecast before earlier runs corrected it; `problem` says why nothing could be counted.
    """

    machine: Machine
    found: Memory | None
    low: int
    high: int
    change: Change | None
    experience: Experience
    problem: str = ""
    plain: Memory | None = None

    @property
    def needed(self) -> int:
        """What the run takes with what is kept free, as the banner says it."""
        return (self.found.total if self.found else self.high) + self.machine.kept

    @property
    def fits(self) -> bool:
        """Whether it fits; a range counts as fitting while its lower end does."""
        return (self.found.total if self.found else self.low) + self.machine.kept <= self.machine.free

    @property
    def measuring(self) -> bool:
        """Whether figures are on their way."""
        return self.found is None and not self.problem


def fit(services: Services, owner: str, config: RunConfig, facts: ModelFacts, counts: dict[str, Any]) -> Fit | None:
    """The verdict for a config; asks for a dry run where none was made. None before a worker knows this machine."""
    machine = machine_of(services, config)
    if machine is None or not facts.layers:
        return None
    known = experience(services, owner, machine.kind)
    room = machine.free - machine.kept
    problem = ""

    def of(other: RunConfig) -> Memory | None:
        nonlocal problem
        found: Memory | None = None
        for load in loads_of(other, counts, machine):
            counted, words = coefficients(services, other, facts, machine, load)
            problem = problem or words
            if counted is None:
                return None
            found = memory(other, machine.dtype, counted, facts.layers, load, machine.kind == "cpu")
            if known.corrected(found).total <= room:
                break
        return found

    def total(other: RunConfig) -> int | None:
        seen = of(other)
        return known.corrected(seen).total if seen else None

    plain = of(config)
    found = known.corrected(plain) if plain else None
    low, high = least(config, machine.dtype, facts, next(loads_of(config, counts, machine)))
    change = None
    if found is not None and found.total > room:
        change = nearest(config, room, total, longest(counts, config))
    return Fit(machine, found, low, high, change, known, "" if found else problem, plain)


def machine_of(services: Services, config: RunConfig) -> Machine | None:
    """The best device of the machine whose worker was seen last."""
    machine = services.machines.newest()
    devices = machine.facts.get("devices") if machine else None
    if machine is None or not devices:
        return None
    device, dtype = devices[0], str(machine.facts.get("dtype", "float32"))
    dtype = dtype if config.base.dtype == "auto" else config.base.dtype
    if device["kind"] == "cpu":
        host = psutil.virtual_memory()
        free, total = int(host.available), int(host.total)
    else:
        free, total = int(device["free"]), int(device["memory"])
    return Machine(str(device["kind"]), dtype, free, total, min(KEPT_FREE, total // 8))


def longest(counts: dict[str, Any], config: RunConfig) -> int:
    """Tokens of the longest example as it will be read."""
    return max(1, min(int(counts.get("longest") or 1), config.training.max_length, counts.get("context") or 10**9))


def loads_of(config: RunConfig, counts: dict[str, Any], machine: Machine) -> Iterator[Load]:
    """What the run may read at once: on an accelerator the trainer halves the studio's own choice until it fits."""
    training = config.training
    budget = token_budget(training.micro_batch_tokens, machine.kind, machine.dtype)
    yield load_of(config, counts, budget)
    halves = machine.kind != "cpu" and splits(config) and not training.micro_batch_tokens
    while halves and budget // 2 >= longest(counts, config):
        budget //= 2
        yield load_of(config, counts, budget)


def load_of(config: RunConfig, counts: dict[str, Any], budget: int) -> Load:
    """The largest micro-batch that can come within `budget` tokens, and the largest one of a check."""
    training, most = config.training, longest(counts, config)
    step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    if splits(config):
        rows, width = fullest(counts, most, step, budget)
    else:
        rows, width = sides(config) * training.per_device_train_batch_size, most
    share = min(1.0, counts.get("train_learnt", 0) / max(1, counts.get("train_tokens", 1)) * 1.2)
    held = int(counts.get("held_out") or 0)
    check = Shape(max(1, min(held, CHECK_TOKENS // most)), most, 0) if held else None
    steps = [Shape(rows, width, 0)]
    if width > BLOCKS_UP_TO and rows * width <= budget:  # shorter ones, which keep more a token
        steps.append(Shape(max(1, min(step, budget // BLOCKS_UP_TO)), BLOCKS_UP_TO, 0))
    return Load(
        tuple(_learning(one, share) for one in steps),
        _learning(check, share) if check else None,
        is_varied=_is_varied(counts, budget),
    )


def sides(config: RunConfig) -> int:
    """Rows that an example takes: the better answer and the worse one are read together."""
    return 2 if config.method.name in ("dpo", "orpo") else 1


def fullest(counts: dict[str, Any], most: int, step: int, budget: int) -> tuple[int, int]:
    """(rows, width) of the micro-batch with most tokens: not always the one with the longest example in it."""
    bars = counts.get("histogram") or {"width": most, "counts": [1]}
    widths = {min(most, (i + 1) * bars["width"]) for i, n in enumerate(bars["counts"]) if n} | {most}
    examples = max(1, int(counts.get("train") or 1))
    found = (most_tokens([width] * min(examples, step), step, budget) for width in widths)
    return max(found, key=lambda shape: shape[0] * shape[1])


def _is_varied(counts: dict[str, Any], budget: int) -> bool:
    """Whether there are many micro-batches, of many widths."""
    widths = sum(1 for n in (counts.get("histogram") or {"counts": []})["counts"] if n)
    return widths > 2 and int(counts.get("train_tokens") or 0) > 10 * budget


def _learning(shape: Shape, share: float) -> Shape:
    return Shape(shape.rows, shape.width, max(1, round(share * shape.tokens)))


def accumulates(config: RunConfig, load: Load) -> bool:
    """Whether a step has more than one micro-batch."""
    training = config.training
    step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    return step * sides(config) > load.steps[0].rows


def coefficients(
    services: Services, config: RunConfig, facts: ModelFacts, machine: Machine, load: Load
) -> tuple[Counted | None, str]:
    """What a dry run counted, or None and, where it can not be counted, why. Asks for it where nobody did."""
    request = request_of(config, facts, machine, load)
    key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    row = services.measurements.get(key)
    if row is not None and row.counted is not None:
        return counted_of(row.counted), ""
    if services.measurements.want(key, request):
        services.bell.ring_forecast()
    return None, (row.problem or "") if row is not None else ""


def request_of(config: RunConfig, facts: ModelFacts, machine: Machine, load: Load) -> dict[str, Any]:
    """All that the count depends on, and nothing else: the rest of the config is at its defaults."""
    adapter = config.adapter
    kept: dict[str, Any] = {"tuner": adapter.tuner}
    if adapter.tuner == "lora":
        kept |= {
            name: getattr(adapter, name) for name in ("r", "target_modules", "use_dora", "modules_to_save", "bias")
        }
        kept["lora_dropout"] = adapter.lora_dropout and 0.1
    names = ("activation_checkpointing", "checkpoint_layers", "torch_compile")
    training = {name: getattr(config.training, name) for name in names}
    training["path"] = config.training.path if config.method.name == "sft" else "trl"
    base = {"repo": facts.ref.repo, "attn_implementation": config.base.attn_implementation}
    return {
        "config": {"base": base, "adapter": kept, "training": training},
        "revision": facts.ref.revision,
        "dtype": machine.dtype,
        "kind": machine.kind,
        "accumulates": accumulates(config, load),
        "long": machine.kind == "cpu" and load.steps[0].width > BLOCKS_UP_TO,
        "version": VERSION,
    }


def told(found: Fit) -> dict[str, Any]:
    """The verdict for the run's record."""
    parts = asdict(found.found) if found.found else None
    return {
        "memory": parts,
        "bytes": found.found.total if found.found else None,
        "bytes_uncorrected": found.plain.total if found.plain else None,
        "dtype": found.machine.dtype,
        "kind": found.machine.kind,
    }
