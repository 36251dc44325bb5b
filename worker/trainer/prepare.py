"""From rows to token ids and labels: what `studio.core.learnt` gives, and nothing else, is trained on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import Dataset

from studio.core.config import TrainingConfig
from studio.core.errors import Refused
from studio.core.learnt import Encoder, Learnt, eval_rows, learn
from studio.core.template import ChatTemplate
from worker.trainer import lifeline
from worker.trainer.job import TrainingFailed

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Part:
    """One split, tokenised: rows of `input_ids`, `labels`, `length`, and the messages they came from."""

    data: Dataset
    messages: list[Messages]

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
        return len(self.messages)


@dataclass(frozen=True)
class Prepared:
    """The whole dataset. `cut` counts examples that lost their end, `left_out` those with nothing left to learn.

    `stops` are the special tokens among the learnt ones: an answer that is generated ends at them. `refusal` is the
    first sentence with which the template refused an example; `refused` counts those.
    """

    train: Part
    held_out: Part
    cut: int
    left_out: int
    refused: int
    refusal: str
    stops: frozenset[int]


class _Counts:
    """What happened to examples on the way."""

    def __init__(self) -> None:
        self.cut = self.left_out = self.refused = 0
        self.refusal: Refused | None = None
        self.stops: set[int] = set()


def prepare(parquet: Path, template: ChatTemplate, encoder: Encoder, training: TrainingConfig) -> Prepared:
    """Tokenise `parquet`. Raises `Refused` or `TrainingFailed` where no example is left to train on."""
    texts, splits = read_rows(parquet)
    held = eval_rows(splits, training.eval_share, training.seed)
    counts = _Counts()
    parts: tuple[list[tuple[Messages, Learnt]], list[tuple[Messages, Learnt]]] = ([], [])
    for number, text in enumerate(texts):
        lifeline.pulse()
        messages = json.loads(text)
        example = _learn(messages, template, encoder, training.max_length, counts)
        if example is not None:
            parts[number in held].append((messages, example))
    if not parts[0]:
        _explain_nothing(counts)
    refusal = counts.refusal.problem if counts.refusal else ""
    return Prepared(
        _part(parts[0]), _part(parts[1]), counts.cut, counts.left_out, counts.refused, refusal, frozenset(counts.stops)
    )


def read_rows(parquet: Path) -> tuple[list[str], list[str | None]]:
    """The messages as JSON text and the splits of every row, in order."""
    table = pq.read_table(parquet, columns=["messages", "split"])
    return table.column("messages").to_pylist(), table.column("split").to_pylist()


def _learn(
    messages: Messages, template: ChatTemplate, encoder: Encoder, max_length: int, counts: _Counts
) -> Learnt | None:
    """One example, cut to `max_length`; None, counted, where nothing of it can be learnt."""
    try:
        example = learn(messages, template, encoder, max_length)
    except Refused as refused:
        counts.refused += 1
        counts.refusal = counts.refusal or refused
        return None
    counts.cut += example.cut > 0
    # The first token has nothing before it to be told from, so it never counts.
    if all(label == -100 for label in example.labels[1:]):
        counts.left_out += 1
        return None
    counts.stops.update(encoder.special_ids.intersection(example.labels))
    return example


def _explain_nothing(counts: _Counts) -> None:
    if counts.refusal is not None:
        raise counts.refusal
    if counts.cut:
        problem = "After cutting to the longest example, no answer is left to learn."
        raise TrainingFailed("nothing_learnt", problem, "Raise the longest example.")
    raise TrainingFailed(
        "nothing_learnt", "No example has an answer to learn.", "Look at the dataset's first examples, and map again."
    )


def _part(examples: list[tuple[Messages, Learnt]]) -> Part:
    columns = {
        "input_ids": [example.ids for _, example in examples],
        "labels": [example.labels for _, example in examples],
        "length": [len(example.ids) for _, example in examples],
    }
    return Part(Dataset.from_dict(columns), [messages for messages, _ in examples])


def by_length(lengths: list[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of `size`, longest first, so that little is padded and memory is shortest at the start."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    return (order[start : start + size] for start in range(0, len(order), size))
