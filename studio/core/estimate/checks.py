"""What a run does beside learning: checks on held-out examples, answers on the way and at the end. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.config import RunConfig, TrainingConfig
from studio.core.estimate.time import Plan

CHECKS = 10
MOST_CHECK_SHARE = 0.1  # of the work of a run; a check reads forward only, training does about three times that
# A token read forward against one learnt: an adapter's gradient takes 2 of its 4 operations, a whole model's 4 of 6.
FORWARD = {"lora": 0.5, "full": 1 / 3}
# An answer is written token by token: each reads all weights once, and passes through transformers' own loop.
# Bytes a second that such reading reaches; the first from decoding speeds of two cores.
BANDWIDTH = {"cpu": 16e9, "cuda": 1e12}
LOOP_SECONDS = 0.02
# What the trainer does, which takes these from here.
AT_ONCE = 32  # answers at once at the end of a run
PROMPTS, PROMPT_TOKENS = 3, 88  # answered at each check, each at most so long beside the spare ones
PROMPT_SHARE = 0.05  # of the time since training began goes to them; the base model's one turn is not counted
SPARE_TOKENS = 8  # beyond the longest reference: an answer that runs on is seen to run on


@dataclass(frozen=True)
class Checking:
    """How often the held-out examples are `read` (once by the base model), with how many `tokens` in all.

    `answered` of them are answered by both models at the end, with `words` tokens each.
    """

    read: int
    tokens: int
    answered: int
    words: int


@dataclass(frozen=True)
class Pace:
    """How fast a machine is: tokens learnt in a second, its kind, and the bytes of the base model's weights."""

    speed: float
    kind: str
    weights: float


def check_every(training: TrainingConfig, steps: int, examples: int, tokens: int, held_tokens: int) -> int:
    """Steps between two checks. `examples` with `tokens` are learnt from, `held_tokens` (not 0) are held out.

    Where the person sets none: ten checks a run, fewer where they would cost more than a tenth of the work.
    """
    if training.eval_steps:
        return training.eval_steps
    each = training.per_device_train_batch_size * training.gradient_accumulation_steps
    work = 3 * tokens * steps * each / max(1, examples)
    checks = max(1, min(CHECKS, int(MOST_CHECK_SHARE * work / max(1, held_tokens))))
    return max(1, math.ceil(steps / checks))


def checking(config: RunConfig, planned: Plan, counts: Mapping[str, Any]) -> Checking:
    """What is checked and answered; `counts` as the sandbox gives them for this config."""
    training, held = config.training, planned.held_out
    held_tokens = max(0, counts["tokens"] - counts["train_tokens"])
    if not held:
        return Checking(0, 0, 0, 0)
    every = check_every(training, planned.steps, planned.examples, counts["train_tokens"], held_tokens)
    whole, rest = divmod(planned.steps, every)
    read = 1 + whole + bool(rest)  # the base model's, one after each stretch of steps, and one of what came out
    learnt = counts["learnt"] / max(1, counts["examples"])
    words = min(learnt, counts["tokens"] / max(1, counts["examples"]) / 2) if config.method.name == "sft" else learnt
    return Checking(read, read * held_tokens, held if training.predict_with_generate else 0, round(words))


def seconds_beside(config: RunConfig, found: Checking, pace: Pace, training_seconds: float) -> float:
    """Seconds of all that. `training_seconds` bound what goes to prompts on the way."""
    if not found.read:
        return 0.0
    forward = FORWARD[config.adapter.tuner] / pace.speed
    prompts = _written(PROMPTS, min(found.words, PROMPT_TOKENS), forward, pace)
    on_the_way = prompts + min(prompts * (found.read - 2), PROMPT_SHARE * training_seconds)
    batches = math.ceil(found.answered / AT_ONCE)
    rows = math.ceil(found.answered / max(1, batches))
    return found.tokens * forward + max(0.0, on_the_way) + 2 * batches * _written(rows, found.words, forward, pace)


def _written(rows: int, words: int, forward: float, pace: Pace) -> float:
    """Seconds in which `rows` answers of about `words` tokens are written at once: as long as the longest takes."""
    longest = 1.5 * words + SPARE_TOKENS
    return longest * (LOOP_SECONDS + pace.weights / BANDWIDTH.get(pace.kind, BANDWIDTH["cuda"]) + rows * forward)
