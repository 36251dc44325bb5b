"""From rows to token ids and labels: what `studio.core.learnt` gives, and nothing else, is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TypeGuard

from datasets import Dataset

from studio.core.config import TrainingConfig
from studio.core.data_file import DataFile
from studio.core.errors import Refused
from studio.core.examples import Example
from studio.core.learning import learn_all
from studio.core.learnt import IGNORED, Learnt
from studio.core.tokenizer import Chat
from worker.trainer import lifeline
from worker.trainer.job import TrainingFailed

Pair = tuple[Example, Learnt]


@dataclass(frozen=True)
class Part:
    """One split, tokenised: rows of `input_ids`, `labels`, `length`, and the examples that they came from."""

    data: Dataset
    examples: list[Example]

    @property
    def tokens(self) -> int:
        """Tokens in all, without padding."""
        return sum(self.data["length"])

    @property
    def learnt(self) -> int:
        """Tokens that are learnt."""
        return sum(sum(label != -100 for label in labels) for labels in self.data["labels"])

    def __len__(self) -> int:
        """How many examples."""
        return len(self.examples)


@dataclass(frozen=True)
class Prepared:
    """The whole dataset. `cut` counts examples that lost their end, `left_out` those with nothing left to learn.

    `too_long` counts those left out because the config says so. `stops` are the special tokens among the learnt ones:
    an answer that is generated ends at them. `refusal` is the first sentence with which the template refused an
    example; `refused` counts those.
    """

    train: Part
    held_out: Part
    cut: int
    left_out: int
    too_long: int
    refused: int
    refusal: str
    stops: frozenset[int]


class _Counts:
    """What happened to examples on the way."""

    def __init__(self) -> None:
        self.cut = self.left_out = self.too_long = self.refused = 0
        self.refusal: Refused | None = None
        self.stops: set[int] = set()

    def keeps(self, one: Learnt | Refused, training: TrainingConfig, special: frozenset[int]) -> TypeGuard[Learnt]:
        """Whether something of an example can be learnt; what happens to it is counted."""
        if isinstance(one, Refused):
            self.refused, self.refusal = self.refused + 1, self.refusal or one
            return False
        if one.cut and training.overlong == "drop":
            self.too_long += 1
            return False
        self.cut += one.cut > 0
        # The first token has nothing before it to be told from, so it never counts.
        if all(label == IGNORED for label in one.labels[1:]):
            self.left_out += 1
            return False
        self.stops.update(special.intersection(one.labels))
        return True


def prepare(parquet: Path, chat: Chat, training: TrainingConfig) -> Prepared:
    """Tokenise `parquet`. Raises `Refused` or `TrainingFailed` where no example is left to train on."""
    counts = _Counts()
    parts: tuple[list[Pair], list[Pair]] = ([], [])
    with DataFile(parquet) as file:
        held = file.held_out(training.eval_share, training.seed)
        examples, again = tee(file.examples())
        learnt = learn_all(again, chat, training.max_length)
        for number, (example, one) in enumerate(zip(examples, learnt, strict=True)):
            lifeline.pulse()
            if counts.keeps(one, training, chat.encoder.special_ids):
                parts[number in held].append((example, one))
    if not parts[0]:
        _explain_nothing(counts)
    refusal = counts.refusal.problem if counts.refusal else ""
    return Prepared(
        _part(parts[0]), _part(parts[1]), counts.cut, counts.left_out, counts.too_long, counts.refused, refusal,
        frozenset(counts.stops),
    )  # fmt: skip


def _explain_nothing(counts: _Counts) -> None:
    if counts.refusal is not None:
        raise counts.refusal
    if counts.cut:
        problem = "After cutting to the longest example, no answer is left to learn."
        raise TrainingFailed("all_cut", problem, "Raise the longest example.")
    if counts.too_long:
        problem = "Every example is too long, so all are left out."
        raise TrainingFailed("all_too_long", problem, "Raise the longest example, or cut them instead.")
    raise TrainingFailed(
        "no_answers", "No example has an answer to learn.", "Look at the dataset's first examples, and map again."
    )


def _part(examples: list[Pair]) -> Part:
    columns = {
        "input_ids": [example.ids for _, example in examples],
        "labels": [example.labels for _, example in examples],
        "length": [len(example.ids) for _, example in examples],
    }
    return Part(Dataset.from_dict(columns), [example for example, _ in examples])


def by_length(lengths: list[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of `size`, longest first, so that little is padded and memory is shortest at the start."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return (order[start : start + size] for start in range(0, len(order), size))
