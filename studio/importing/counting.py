"""All examples as a model sees them, in numbers: tokens, what is learnt, what is cut, what does not fit."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import Any

from studio.core.chat_templates import AUTO
from studio.core.child import Progress
from studio.core.comparing import learns
from studio.core.data_file import DataFile
from studio.core.errors import Refused
from studio.core.examples import Example, from_row
from studio.core.findings import KINDS
from studio.core.learning import learn_all
from studio.core.learnt import Learnt
from studio.core.tokenizer import Chat, load_chat
from studio.importing.limits import template_guard

MOST_COUNTED = 20_000
_TOLD = 256
_BARS = 16
_NAMED = 1000
_SUMMED = (
    "tokens", "learnt", "train_tokens", "train_learnt", "cut", "cut_tokens", "nothing_learnt", "no_end", "refused",
)  # fmt: skip


@dataclass
class _Sums:
    """Numbers over the examples counted so far; `lengths` before the cut. `rows`: the file's rows by what is wrong."""

    lengths: list[int] = field(default_factory=list)
    tokens: int = 0
    learnt: int = 0
    train_tokens: int = 0
    train_learnt: int = 0
    cut: int = 0
    cut_tokens: int = 0
    nothing_learnt: int = 0
    no_end: int = 0
    refused: int = 0
    refused_words: str = ""
    dropped_train: int = 0
    dropped_eval: int = 0
    rows: dict[str, list[list[int]]] = field(default_factory=dict)

    def add(self, one: Learnt | Refused, train: bool, at: tuple[int, int], drops: bool) -> None:
        """Take in one example; `at` is its row and its place, `drops` whether longer ones are left out whole."""
        for kind in kinds_of(one):
            named = self.rows.setdefault(kind, [])
            if len(named) < _NAMED:
                named.append([*at])
            counted = KINDS[kind].counted
            setattr(self, counted, getattr(self, counted) + 1)
        if isinstance(one, Refused):
            self.refused_words = self.refused_words or one.problem
            self._drop(train)
            return
        size, learnt = len(one.ids), one.learnt
        self.lengths.append(size + one.cut)
        self.cut_tokens += one.cut
        if one.cut and drops:
            self._drop(train)
            return
        if not learnt:
            self._drop(train)
            self.tokens += size
            return
        self.tokens, self.learnt = self.tokens + size, self.learnt + learnt
        self.train_tokens, self.train_learnt = self.train_tokens + size * train, self.train_learnt + learnt * train

    def _drop(self, train: bool) -> None:
        """The trainer leaves it out."""
        self.dropped_train, self.dropped_eval = self.dropped_train + train, self.dropped_eval + (not train)


def kinds_of(one: Learnt | Refused) -> list[str]:
    """What about an example does not go together with the model, as kinds of findings."""
    if isinstance(one, Refused):
        return ["refused_by_template"]
    kinds = ["too_long"] if one.cut else []
    if not one.learnt:
        return [*kinds, "nothing_learnt"]
    return kinds if one.ends else [*kinds, "no_end_of_turn"]


def count(data: Path, model: Path, wishes: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Examples and tokens of a dataset for one model.

    `wishes`: `max_length`, `overlong` ("cut" or "drop"), `eval_share`, `seed`, and `whole`: else, above 20,000
    examples, an even part of them is counted and sums are scaled; `counted` says how many. Raises `Refused` where the
    template refuses every example.
    """
    chat = load_chat(model, str(wishes.get("template", AUTO)))
    with DataFile(data) as file:
        total, splits = len(file), file.column("split")
        held = file.held_out(float(wishes.get("eval_share", 0)), int(wishes.get("seed", 0)))
        every = 1 if wishes.get("whole") else -(-total // MOST_COUNTED)
        sums = _Counting(chat, wishes, held, every).summed(file, progress)
    if not sums.lengths and not wishes.get("whole"):
        raise Refused(sums.refused_words or "This dataset holds no examples.", "Choose another model or dataset.")
    scale = total / max(1, len(sums.lengths) + sums.refused)
    return {
        "examples": total,
        "train": total - len(held) - round(sums.dropped_train * scale),
        "held_out": len(held) - round(sums.dropped_eval * scale),
        "own_split": "eval" in splits,
        "counted": len(sums.lengths),
        **{name: round(getattr(sums, name) * scale) for name in _SUMMED},
        "refused_words": sums.refused_words,
        "rows": sums.rows,
        "longest": max(sums.lengths, default=0),
        "average": round(sum(sums.lengths) / max(1, len(sums.lengths))),
        "context": chat.context,
        "max_length": wishes.get("max_length"),
        "overlong": wishes.get("overlong", "cut"),
        "histogram": _histogram(sums.lengths),
    }


class _Counting:
    """One pass over a dataset."""

    def __init__(self, chat: Chat, wishes: Mapping[str, Any], held: frozenset[int], every: int) -> None:
        self._chat, self._held, self._every = chat, held, every
        self._longest, self._drops = wishes.get("max_length") or chat.context or None, wishes.get("overlong") == "drop"
        self._method, self._learn = str(wishes.get("method") or "sft"), str(wishes.get("learn") or "answers")
        self._sums = _Sums()

    def summed(self, file: DataFile, progress: Progress) -> _Sums:
        """The numbers of all that is counted."""
        chosen, again = tee(self._chosen(file))
        wanted = learns(self._method, self._learn)
        learnt = learn_all((example for _, example in again), self._chat, self._longest, template_guard, wanted)
        for (at, _), one in zip(chosen, learnt, strict=True):
            self._sums.add(one, at[1] not in self._held, at, self._drops)
            if at[1] % _TOLD == 0:
                progress(at[1] / len(file), f"{at[1]:,} examples counted")
        return self._sums

    def _chosen(self, file: DataFile) -> Iterator[tuple[tuple[int, int], Example]]:
        """(row, place) of each example that is counted, with it."""
        place = 0
        for rows in file.rows("row"):
            for row in rows:
                if place % self._every == 0:
                    yield (row["row"], place), from_row(row)
                place += 1


def misfits(data: Path, model: Path, max_length: int | None) -> dict[str, list[int]]:
    """The places of all examples that do not go together with a model, by kind of finding."""
    chat, found = load_chat(model), defaultdict[str, list[int]](list)
    longest = max_length or chat.context or None
    with DataFile(data) as file:
        for place, one in enumerate(learn_all(file.examples(), chat, longest, template_guard)):
            for kind in kinds_of(one):
                found[kind].append(place)
    return found


def _histogram(lengths: list[int]) -> dict[str, Any]:
    """Bars of even width in tokens, the first from 0; `width` is a round number."""
    most = max(lengths, default=0)
    width = next(w for p in range(1, 8) for w in (10**p // 2, 10**p, 2 * 10**p) if w * _BARS > most)
    counts = [0] * (most // width + 1)
    for length in lengths:
        counts[length // width] += 1
    return {"width": width, "counts": counts}
