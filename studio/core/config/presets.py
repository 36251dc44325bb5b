"""Draft, Balanced, Thorough: what each sets, by the size of the model and of the data, and why. Pure."""

import math
from dataclasses import dataclass
from typing import Any

DRAFT, BALANCED, THOROUGH = NAMES = ("Draft", "Balanced", "Thorough")
# The usual learning rate of an adapter, by method; every weight at once takes a tenth of it.
_RATES = {"sft": 2e-4, "orpo": 1e-4, "dpo": 2e-5, "kto": 2e-5}
_SMALL, _LARGE = 500e6, 30e9  # parameters
_RANKS = {DRAFT: 8, BALANCED: 16, THOROUGH: 32}
_LENGTHS = {DRAFT: 1024, BALANCED: 1024, THOROUGH: 2048}
# Passes over few, many (10,000) and very many examples (50,000); the fewest steps; the most passes for them.
_PASSES = {DRAFT: (1, 1, 1), BALANCED: (3, 2, 1), THOROUGH: (6, 3, 2)}
_FEWEST_STEPS = {DRAFT: 20, BALANCED: 50, THOROUGH: 100}
_MOST_PASSES = {DRAFT: 10, BALANCED: 10, THOROUGH: 20}
_DRAFT_STEPS = 300
_ENOUGH_TO_CHECK = 8  # with fewer held-out examples the best check is a matter of luck
_PATIENCE = 3


@dataclass(frozen=True)
class Scale:
    """What presets go by. 0 stands for what is not known; `held_out` of `examples` are kept back."""

    parameters: int = 0
    context: int = 0
    width: int = 0
    examples: int = 0
    held_out: int = 0
    method: str = "sft"
    tuner: str = "lora"


@dataclass(frozen=True)
class Preset:
    """One of the three: `words` say in a line what it does and what for, `why` where its values come from.

    `sets` are its values by dotted path; everything else is at its default.
    """

    name: str
    words: str
    why: str
    sets: dict[str, Any]


def presets(scale: Scale) -> tuple[Preset, ...]:
    """All three, the quickest first."""
    return tuple(preset(name, scale) for name in NAMES)


def preset(name: str, scale: Scale) -> Preset:
    """One of the three for this model and this data. Raises KeyError for another name."""
    batch = _batch(scale)
    learnt = max(0, scale.examples - scale.held_out)
    per_pass = math.ceil(learnt / batch)
    passes = _passes(name, learnt, per_pass)
    capped = name == DRAFT and per_pass > _DRAFT_STEPS
    checks = name != DRAFT and (scale.held_out >= _ENOUGH_TO_CHECK or not scale.examples)
    sets: dict[str, Any] = {
        "training.num_train_epochs": passes,
        "training.max_steps": _DRAFT_STEPS if capped else -1,
        "training.learning_rate": _rate(scale),
        "training.per_device_train_batch_size": batch,
        "training.max_length": min(_LENGTHS[name], scale.context or 131072),
        "training.early_stopping_patience": _PATIENCE if checks else 0,
        "training.load_best_model_at_end": checks,
        "training.predict_with_generate": name == THOROUGH and scale.held_out > 0 and scale.method == "sft",
    }
    if scale.tuner == "lora":
        rank = min(_RANKS[name], scale.width or 512)
        sets |= {"adapter.r": rank, "adapter.lora_alpha": 2 * rank}
    return Preset(name, _words(name, sets), _why(scale, learnt, passes), sets)


def _batch(scale: Scale) -> int:
    """Examples of a step: few data make enough steps with small ones, many are steadier with large ones."""
    if 0 < scale.examples < 500:
        return 4
    return 16 if scale.examples >= 5000 else 8


def _passes(name: str, learnt: int, per_pass: int) -> int:
    few, many, most = _PASSES[name]
    usual = few if learnt < 10_000 else many if learnt < 50_000 else most
    needed = math.ceil(_FEWEST_STEPS[name] / per_pass) if per_pass else 0
    return min(max(usual, needed), _MOST_PASSES[name])


def _rate(scale: Scale) -> float:
    factor = 1.0
    if scale.parameters:
        factor = 2.5 if scale.parameters < _SMALL else 0.5 if scale.parameters >= _LARGE else 1.0
    rate = _RATES.get(scale.method, _RATES["sft"]) * factor * (0.1 if scale.tuner == "full" else 1.0)
    return float(f"{rate:.2g}")


def _words(name: str, sets: dict[str, Any]) -> str:
    passes = sets["training.num_train_epochs"]
    first = "One pass" if passes == 1 else f"{passes} passes"
    if sets["training.max_steps"] > 0:
        first = f"{sets['training.max_steps']} steps"
    rank = f", rank {sets['adapter.r']}" if "adapter.r" in sets else ""
    if name == DRAFT:
        return f"{first}{rank}. Shows soon whether it learns."
    stops = sets["training.early_stopping_patience"] > 0
    if name == BALANCED:
        return f"{first}{rank}. " + ("Stops when it stops helping." if stops else "Enough for most data.")
    return f"{first}{rank}. " + ("Learns longest, keeps the best." if stops else "Learns longest.")


def _why(scale: Scale, learnt: int, passes: int) -> str:
    """Where the values come from: the data first, then the model."""
    parts = []
    if learnt:
        many = "few" if learnt < 500 else "some" if learnt < 10_000 else "many"
        batch = _batch(scale)
        steps = "small steps" if batch == 4 else "large steps" if batch == 16 else "steps"
        passed = "one pass" if passes == 1 else f"{passes} passes"
        parts.append(f"{learnt:,} examples are {many}: {passed}, in {steps} of {batch}")
    if scale.parameters and scale.parameters < _SMALL:
        parts.append("a small model takes a higher learning rate")
    elif scale.parameters >= _LARGE:
        parts.append("a large model takes a lower learning rate")
    if scale.method in ("dpo", "kto"):
        parts.append("comparing takes a tenth of the usual learning rate")
    if scale.tuner == "full":
        parts.append("every weight at once takes a tenth of an adapter's learning rate")
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}." if said else "The usual values, until a model and a dataset are chosen."
