"""How many operations training needs, to say which share of the measured matrix speed it reaches. Pure arithmetic.

A matmul parameter costs 2 operations forward, 2 for the gradient of what came in, and 2 for its own gradient where it
is trained. A frozen base has no gradient of its own: 4 a token, not 6. Attention has no parameters: its forward once,
its backward twice. What is only computed anew (checkpointing) or for padding is not needed and does not count.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Operations of one training: `token` for each token that is read, `learnt` more for each that is learnt."""

    token: float
    learnt: float

    def share(self, tokens: int, learnt: int, seconds: float, gflops: float) -> float | None:
        """The share, about 0 to 1, of a matrix speed in GFLOP/s that so many tokens in `seconds` reach."""
        possible = seconds * gflops * 1e9
        return (self.token * tokens + self.learnt * learnt) / possible if possible > 0 else None


def per_token(parameters: int, attention: float = 0.0, full: bool = False) -> float:
    """Operations a token: 4N + 3A with a frozen base, 6N + 3A where all is trained."""
    return (6 if full else 4) * parameters + 3 * attention


def attention_per_token(layers: int, width: int, seen: float) -> float:
    """Forward operations a token of causal attention over `seen` positions; `width` is heads times a head's size."""
    return 4.0 * layers * width * seen


def mean_seen(lengths: Iterable[int]) -> float:
    """How many positions a token looks at on average, itself included, in examples of these lengths; 0 for none."""
    known = list(lengths)
    return sum(n * (n + 1) / 2 for n in known) / max(1, sum(known))


def work(body: int, head: int, attention: float, full: bool = False) -> Work:
    """`body` are the matmul parameters without the `head`, which only learnt positions go through."""
    return Work(per_token(body, attention, full), per_token(head, full=full))
