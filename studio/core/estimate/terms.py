"""What a dry run counted, as sums that can be worked out for any shape and any number of blocks. Pure arithmetic."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from studio.core.microbatches import BLOCKS_UP_TO

LONG = "long "
PASSES = ("saved", "body", "head", "backward", "check_body", "check_head")
VERSION = 3
"""Rises when the dry run counts differently: what was kept before is counted anew."""


@dataclass(frozen=True)
class Shape:
    """A micro-batch: `rows` examples, each padded to `width` tokens, with `learnt` learnt positions in all."""

    rows: int
    width: int
    learnt: int

    @property
    def tokens(self) -> int:
        """Tokens, padding counted."""
        return self.rows * self.width


@dataclass(frozen=True)
class Terms:
    """Bytes as a sum over what they grow with: `once` in the whole model, `block` in each of its blocks.

    `once`: a constant, tokens, learnt positions, those of the first chunk, of the first two, width squared.
    `block`: a constant, tokens, tokens times width.
    """

    once: tuple[float, ...]
    block: tuple[float, ...]

    def at(self, shape: Shape, blocks: float, chunk: int) -> int:
        """The bytes for a micro-batch of this shape."""
        once = dot(self.once, once_of(shape, chunk))
        return max(0, round(once + blocks * dot(self.block, block_of(shape))))


def once_of(shape: Shape, chunk: int) -> tuple[float, ...]:
    """What `Terms.once` is multiplied with."""
    return 1.0, shape.tokens, shape.learnt, min(shape.learnt, chunk), min(shape.learnt, 2 * chunk), shape.width**2


def block_of(shape: Shape) -> tuple[float, ...]:
    """What `Terms.block` is multiplied with."""
    return 1.0, shape.tokens, shape.tokens * shape.width


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """The sum of products."""
    return sum(a * b for a, b in zip(left, right, strict=True))


@dataclass(frozen=True)
class Weights:
    """Counts of numbers. `packed` can be loaded in fewer bits (the linear layers of a block); `largest` is one of them.

    `block*` are those of one block, `once*` all others; `trained` those that a step changes.
    """

    block: int
    block_packed: int
    once: int
    block_trained: int
    once_trained: int
    largest: int


@dataclass(frozen=True)
class Counted:
    """A dry run's result, in bytes by `PASSES`: what is `saved` for the backward pass, and the most there is meanwhile.

    `body` is the forward pass through the blocks, `head` from there to the loss; `check_*` the same without gradients,
    as on held-out examples. With `accumulates` gradients stand in memory from the beginning. `chunk`: learnt positions
    whose logits stand there at once. Names that begin with `LONG` hold beyond `BLOCKS_UP_TO` tokens, where they were
    counted apart.
    """

    weights: Weights
    terms: Mapping[str, Terms]
    chunk: int
    accumulates: bool
    version: int = VERSION

    def most(self, name: str, shape: Shape, blocks: int) -> int:
        """The bytes of one of `PASSES` for a micro-batch in a model of so many blocks."""
        if shape.width > BLOCKS_UP_TO:
            name = LONG + name if LONG + name in self.terms else name
        return self.terms[name].at(shape, blocks, self.chunk)

    def as_json(self) -> dict[str, Any]:
        """For the records."""
        return asdict(self)


def counted_of(found: Mapping[str, Any]) -> Counted | None:
    """As kept by `as_json`; None for what another version counted."""
    if found.get("version") != VERSION:
        return None
    terms = {name: Terms(tuple(one["once"]), tuple(one["block"])) for name, one in found["terms"].items()}
    return Counted(Weights(**found["weights"]), terms, found["chunk"], found["accumulates"])
