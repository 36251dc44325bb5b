"""How a row's next token is chosen from its logits, with a generator of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FEW = 512
"""A nucleus nearly always lies among so many: to sort all of a vocabulary costs milliseconds a token."""


@dataclass(frozen=True)
class Sampling:
    """Temperature 0 is greedy; `top_p` 1, `top_k` 0, `min_p` 0 and `repetition_penalty` 1 are off."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether the best token of the model's own logits is taken."""
        return self.temperature == 0 and self.repetition_penalty == 1


GREEDY = Sampling()


def pick(logits: Tensor, how: Sampling, generator: torch.Generator, seen: Sequence[int] = ()) -> int:
    """One token from logits (vocabulary); `seen` are the ids of prompt and answer, for the penalty.

    In the order of `generate`: penalty, temperature, top_k, top_p, min_p.
    """
    logits = logits.float()
    if how.repetition_penalty != 1:
        logits = penalised(logits, how.repetition_penalty, seen)
    if how.temperature == 0:
        return int(logits.argmax())
    logits = logits / how.temperature
    if how.top_k:
        logits, order = logits.topk(min(how.top_k, len(logits)))
        return _drawn(torch.softmax(logits, dim=-1), order, how, generator)
    chances = torch.softmax(logits, dim=-1)
    if how.top_p >= 1 and how.min_p == 0:
        return int(torch.multinomial(chances, 1, generator=generator))
    best, order = chances.topk(min(FEW, len(chances)))
    is_more = float(best.sum()) < how.top_p if how.top_p < 1 else bool(best[-1] >= how.min_p * best[0])
    if is_more:
        best, order = chances.sort(descending=True)
    return _drawn(best, order, how, generator)


def _drawn(chances: Tensor, order: Tensor, how: Sampling, generator: torch.Generator) -> int:
    """One of `order` by falling `chances`, from the smallest set above `top_p` whose chances reach `min_p`."""
    keep = chances >= how.min_p * chances[0]
    if how.top_p < 1:
        keep &= chances.cumsum(0) - chances < how.top_p
    return int(order[torch.multinomial(chances * keep, 1, generator=generator)])


def penalised(logits: Tensor, penalty: float, seen: Sequence[int]) -> Tensor:
    """The logits with those of tokens that stand already made less likely."""
    logits = logits.clone()
    ids = torch.tensor(sorted(set(seen)), dtype=torch.long)
    found = logits[ids]
    logits[ids] = torch.where(found < 0, found * penalty, found / penalty)
    return logits


def likelihoods(logits: Tensor, token: int, most: int) -> tuple[float, list[tuple[int, float]]]:
    """The logarithm of the model's own chance of `token`, and of the `most` likeliest with their ids."""
    chances = torch.log_softmax(logits.float(), dim=-1)
    best, ids = chances.topk(most)
    return float(chances[token]), list(zip(ids.tolist(), best.tolist(), strict=True))
