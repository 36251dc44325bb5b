"""How the examples of one optimizer step are split into micro-batches. Pure arithmetic; the forecast asks it too.

The person chooses how many examples make a step; the split is the studio's. The gradient does not depend on it: every
micro-batch's loss is a sum over its learnt tokens, divided by the learnt tokens of the whole step.
"""

from collections.abc import Sequence

from studio.core.config import RunConfig

# Tokens of a micro-batch, padding counted, where the config leaves it to the studio.
BUDGETS = {("cpu", "float32"): 1024, ("cpu", "bfloat16"): 1024, ("cuda", "float32"): 8192, ("cuda", "bfloat16"): 16384}
# Up to this many tokens a processor attends in blocks and keeps what each token takes of each other one: fast, and
# memory grows with the square. Beyond, by torch's own attention, which keeps nothing of it and is as fast there.
BLOCKS_UP_TO = 768
OPTIMIZED_AT_ONCE = 50_000_000  # trained numbers whose gradients stand in float32 at once
CHECK_TOKENS = 4096  # of held-out examples at once, padding counted; more does not make a processor faster


def splits(config: RunConfig) -> bool:
    """Whether the studio splits each step; else the person's batches are read as they are."""
    return config.training.path == "fast" and config.method.name == "sft"


def token_budget(wanted: int, device_kind: str, dtype: str) -> int:
    """`wanted` (the config's `micro_batch_tokens`), or where it is 0 what suits the device and the number format."""
    return wanted or BUDGETS.get((device_kind, dtype), BUDGETS["cpu", "float32"])


def micro_batches(lengths: Sequence[int], budget: int, padded: bool = True) -> list[list[int]]:
    """Indices of `lengths` in micro-batches, longest first, each of at most `budget` tokens.

    `padded` counts every example of a micro-batch as long as its longest one, else each as long as it is. An example
    longer than the budget stands alone. As few micro-batches as can be, and of about the same size: a small last one
    would use the device badly, and the largest one makes the peak of memory.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    fewest = _filled(lengths, order, budget, padded)
    low, high = 1, budget
    while low < high:
        middle = (low + high) // 2
        if len(_filled(lengths, order, middle, padded)) <= len(fewest):
            high = middle
        else:
            low = middle + 1
    return _filled(lengths, order, low, padded)


def _filled(lengths: Sequence[int], order: Sequence[int], budget: int, padded: bool) -> list[list[int]]:
    """`order` cut wherever the next example would go over `budget`."""
    batches: list[list[int]] = []
    room = widest = 0
    for index in order:
        cost = widest if padded else lengths[index]
        if not batches or room < cost:
            batches.append([])
            room, cost = budget, lengths[index]
            widest = cost
        batches[-1].append(index)
        room -= cost
    return batches


def most_tokens(lengths: Sequence[int], examples_per_step: int, budget: int) -> tuple[int, int]:
    """The largest micro-batch that a run over `lengths` can meet, as (examples, tokens of the longest).

    A step may hold any examples, so this is the fullest that the budget lets pass, with the longest example in it.
    """
    longest = max(lengths)
    rows = max(1, min(examples_per_step, len(lengths), budget // longest))
    return rows, longest
