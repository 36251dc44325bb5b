"""From rows to token ids and labels: what `studio.core.learnt` gives, and nothing else, is trained on."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any, TypeGuard

from datasets import Dataset

from studio.core.comparing import COMPARISONS, JUDGED, PLAIN, better_side, learns, unfit, worse_side
from studio.core.config import MethodConfig, TrainingConfig
from studio.core.data_file import DataFile
from studio.core.errors import Refused
from studio.core.examples import Example
from studio.core.learning import learn_all
from studio.core.learnt import IGNORED, Learnt
from studio.core.tokenizer import Chat
from worker.trainer import lifeline
from worker.trainer.job import TrainingFailed

Pair = tuple[Example, list[Any]]  # an example and its sides: what is learnt of it, and of the worse answer


@dataclass(frozen=True)
class Part:
    """One split, tokenised: rows of `input_ids`, `labels`, `length`.

    `examples` are those that they came from where somebody asks for them again: the held-out ones.
    """

    data: Dataset
    examples: list[Example]

    @property
    def tokens(self) -> int:
        """Tokens in all, without padding."""
        return sum(self.data["length"])

    @property
    def learnt(self) -> int:
        """Tokens that are learnt."""
        names = [name for name in ("labels", "rejected_labels") if name in self.data.column_names]
        return sum(sum(label != IGNORED for label in labels) for name in names for labels in self.data[name])

    def __len__(self) -> int:
        """How many examples."""
        return len(self.data)


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


def prepare(parquet: Path, chat: Chat, training: TrainingConfig, method: MethodConfig | None = None) -> Prepared:
    """Tokenise `parquet` for `method` (sft). Raises `Refused` or `TrainingFailed` where no example is left to learn."""
    counts, method = _Counts(), method or MethodConfig()
    parts: tuple[list[Pair], list[Pair]] = ([], [])
    with DataFile(parquet) as file:
        held = file.held_out(training.eval_share, training.seed)
        for number, (example, sides) in enumerate(_sides(file, chat, training, method)):
            lifeline.pulse()
            if counts.keeps(_weakest(sides), training, chat.encoder.special_ids):
                parts[number in held].append((example, sides))
    if not parts[0]:
        _explain_nothing(counts)
    refusal = counts.refusal.problem if counts.refusal else ""
    of = _judged if method.name == "kto" else _part
    train = replace(of(parts[0], training), examples=[])
    return Prepared(
        train, of(parts[1], training), counts.cut, counts.left_out, counts.too_long,
        counts.refused, refusal, frozenset(counts.stops),
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


def _sides(
    file: DataFile, chat: Chat, training: TrainingConfig, method: MethodConfig
) -> Iterator[tuple[Example, list[Learnt | Refused]]]:
    """Each example with what is learnt of it: one side, or the better and the worse one where the method compares."""
    wanted, longest = learns(method.name, method.learn), training.max_length
    asked, better, worse = tee((_fitting(example, method.name) for example in file.examples()), 3)
    sides = [learn_all(map(better_side, better), chat, longest, learn=wanted)]
    if method.name in ("dpo", "orpo"):
        sides.append(learn_all(map(worse_side, worse), chat, longest, learn=wanted))
    else:
        del worse
    for example, *found in zip(asked, *sides, strict=True):
        yield example, found


def _fitting(example: Example, method: str) -> Example:
    """`example`. Raises `TrainingFailed` where the method can not learn from its kind."""
    kind = COMPARISONS if example.rejected else JUDGED if example.label is not None else PLAIN
    if found := unfit(method, kind):
        raise TrainingFailed("dataset_mismatch", found[0].problem, found[0].remedy)
    return example


def _weakest(sides: list[Learnt | Refused]) -> Learnt | Refused:
    """The side that decides whether the whole example can be used: one refused, one with nothing left, one cut."""
    for one in sides:
        if isinstance(one, Refused):
            return one
    known = [one for one in sides if isinstance(one, Learnt)]
    return min(known, key=lambda one: (any(label != IGNORED for label in one.labels[1:]), not one.cut))


def _part(examples: list[Pair], _: TrainingConfig) -> Part:
    columns: dict[str, list[Any]] = {
        "input_ids": [sides[0].ids for _, sides in examples],
        "labels": [sides[0].labels for _, sides in examples],
        "length": [sum(len(one.ids) for one in sides) for _, sides in examples],
    }
    if examples and len(examples[0][1]) > 1:
        columns["rejected_ids"] = [sides[1].ids for _, sides in examples]
        columns["rejected_labels"] = [sides[1].labels for _, sides in examples]
    return Part(Dataset.from_dict(columns), [example for example, _ in examples])


def _judged(examples: list[Pair], training: TrainingConfig) -> Part:
    """Judged answers in an order of their own, each beside the question of another of its batch.

    How far the model has moved is estimated from answers to questions that are not theirs (TRL's way of KTO).
    """
    mixed = list(examples)
    random.Random(training.seed).shuffle(mixed)  # noqa: S311 (not for secrets)
    part, size = _part(mixed, training), training.per_device_train_batch_size
    ids: list[list[int]] = []
    labels: list[list[int]] = []
    for start in range(0, len(mixed), size):
        batch = [sides[0] for _, sides in mixed[start : start + size]]
        for asked, other in zip(batch, [batch[-1], *batch[:-1]], strict=True):
            question, answer = asked.ids[: _first(asked)], other.ids[_first(other) :]
            ids.append(question + answer)
            labels.append([IGNORED] * len(question) + other.labels[_first(other) :])
    data = part.data.add_column("label", [bool(example.label) for example, _ in mixed])
    return Part(data.add_column("kl_ids", ids).add_column("kl_labels", labels), part.examples)


def _first(one: Learnt) -> int:
    """The place of the first learnt token."""
    return next(place for place, label in enumerate(one.labels) if label != IGNORED)


def by_length(lengths: list[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of `size`, longest first, so that little is padded and memory is shortest at the start."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return (order[start : start + size] for start in range(0, len(order), size))
