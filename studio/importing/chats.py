"""Examples as a model sees them: one for the eye (preview), all of them in numbers (count)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from studio.core.errors import NotFound, Refused
from studio.core.learnt import UNSAFE, ChatTemplate, Encoded, Learnt, Plan, Turn, eval_rows, label, plan
from studio.core.tokenizer import Chat, load_chat
from studio.importing.canonical import Progress
from studio.importing.limits import template_guard

MOST_COUNTED = 20_000
_BATCH = 256
_BARS = 16


def preview(data: Path, model: Path, index: int, max_length: int | None) -> dict[str, Any]:
    """Example `index` (from 0) as turns of tokens. Raises `Refused` where the template refuses it."""
    row, messages, total = _example(data, index)
    chat = load_chat(model)
    planned = _planned(messages, chat.template)
    encoded = chat.encoder.encode(planned.text)
    learnt = label(planned, encoded, chat.encoder, max_length)
    turns = _own_turn(planned, messages, chat.template) + list(planned.turns)
    return {
        "index": index,
        "row": row,
        "total": total,
        "text": planned.text,
        "turns": _shown(learnt, turns, chat.encoder.special_ids),
        "tokens": len(learnt.ids),
        "learnt": learnt.learnt,
        "cut": learnt.cut,
        "ends": learnt.ends,
    }


def _planned(messages: Sequence[dict[str, Any]], template: ChatTemplate) -> Plan:
    with template_guard():
        return plan(messages, template)


def _example(data: Path, index: int) -> tuple[int, list[dict[str, Any]], int]:
    """Source row, messages and the number of all examples; only the row group that holds it is read."""
    with pq.ParquetFile(data) as file:
        total, left = file.metadata.num_rows, index
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if 0 <= left < rows:
                found = file.read_row_group(group, columns=["row", "messages"]).slice(left, 1).to_pylist()[0]
                return found["row"], json.loads(found["messages"]), total
            left -= rows
    raise NotFound(f"There is no example {index + 1:,}; the dataset has {total:,}.", "Choose another one.")


def _own_turn(planned: Plan, messages: Sequence[dict[str, Any]], template: ChatTemplate) -> list[Turn]:
    """The words that the template itself puts first (a default system message), as a turn; none where it has none.

    They are what stands before the first message when the same message, later in the chat, looks shorter.
    """
    first = planned.turns[0]
    if first.role != "user":
        return []
    try:
        again = [messages[0], {"role": "assistant", "content": "x"}]
        with template_guard():
            block = plan([*again, messages[0]], template).text[len(plan(again, template).text) :]
    except Refused:
        return []
    head = planned.text[: first.end].removesuffix(block)
    bare = head
    for mark in template.special.values():
        bare = bare.replace(mark, "")
    if len(head) == first.end or not any(character.isalpha() for character in bare):
        return []
    line = head.find("\n") + 1
    return [Turn("system", 0, len(head), (line, len(head)), False)]


def _shown(learnt: Learnt, turns: list[Turn], special: frozenset[int]) -> list[dict[str, Any]]:
    """Turns with their tokens. Every character stands in exactly one token, gaps in the one that follows."""
    pieces: list[dict[str, Any]] = []
    at = 0
    for id_, target, (start, end) in zip(learnt.ids, learnt.labels, learnt.offsets, strict=True):
        turn = next((turn for turn in turns if start < turn.end), turns[-1])
        first, last = turn.words
        is_special, is_learnt = id_ in special, target == id_
        outside = turn.learnt or not first <= start < last  # of a learnt turn, what is not learnt is the template's
        token = {
            "text": learnt.text[at : max(at, end)],
            "learnt": is_learnt,
            "special": is_special,
            "role_mark": outside and not is_special and not is_learnt,
        }
        at = max(at, end)
        if not pieces or pieces[-1]["turn"] is not turn:
            pieces.append({"turn": turn, "tokens": []})
        pieces[-1]["tokens"].append(token)
    return [{"role": piece["turn"].role, "learnt": piece["turn"].learnt, "tokens": piece["tokens"]} for piece in pieces]


@dataclass
class _Sums:
    """Numbers over the examples counted so far; `lengths` before the cut."""

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

    def add(self, example: Learnt, train: bool) -> None:
        """Take in one example."""
        size, learnt = len(example.ids), example.learnt
        self.lengths.append(size + example.cut)
        self.tokens, self.learnt = self.tokens + size, self.learnt + learnt
        self.train_tokens, self.train_learnt = self.train_tokens + size * train, self.train_learnt + learnt * train
        self.cut, self.cut_tokens = self.cut + (example.cut > 0), self.cut_tokens + example.cut
        self.nothing_learnt += learnt == 0
        self.no_end += learnt > 0 and not example.ends


def count(
    data: Path, model: Path, max_length: int | None, split: tuple[float, int], progress: Progress
) -> dict[str, Any]:
    """Examples and tokens of a dataset for one model. `split` is (share, seed) of what is held out.

    Above 20,000 examples an even part of them is counted and sums are scaled; `counted` says how many. Raises `Refused`
    where the template refuses every example.
    """
    chat = load_chat(model)
    with pq.ParquetFile(data) as file:
        splits = file.read(columns=["split"]).column("split").to_pylist()
        held = eval_rows(splits, *split)
        every = -(-len(splits) // MOST_COUNTED)
        sums = _summed(file, chat, max_length, held, every, progress)
    if not sums.lengths:
        raise Refused(sums.refused_words or "This dataset holds no examples.", "Choose another model or dataset.")
    scale = len(splits) / (len(sums.lengths) + sums.refused)
    names = (
        "tokens", "learnt", "train_tokens", "train_learnt", "cut", "cut_tokens", "nothing_learnt", "no_end", "refused",
    )  # fmt: skip
    return {
        "examples": len(splits),
        "train": len(splits) - len(held),
        "held_out": len(held),
        "own_split": "eval" in splits,
        "counted": len(sums.lengths),
        **{name: round(getattr(sums, name) * scale) for name in names},
        "refused_words": sums.refused_words,
        "longest": max(sums.lengths),
        "average": round(sum(sums.lengths) / len(sums.lengths)),
        "context": chat.context,
        "max_length": max_length,
        "histogram": _histogram(sums.lengths),
    }


def _summed(
    file: pq.ParquetFile, chat: Chat, max_length: int | None, held: frozenset[int], every: int, progress: Progress
) -> _Sums:
    sums, total, index = _Sums(), file.metadata.num_rows, 0
    for batch in file.iter_batches(_BATCH, columns=["messages"]):
        texts = batch.column(0).to_pylist()
        chosen = [(index + k, text) for k, text in enumerate(texts) if (index + k) % every == 0]
        index += len(texts)
        planned = list(_plans(chosen, chat.template, sums))
        encoded: list[Encoded] = chat.encoder.encode_batch([one.text for _, one in planned])
        for (place, one), tokens in zip(planned, encoded, strict=True):
            sums.add(label(one, tokens, chat.encoder, max_length), place not in held)
        progress(index / total, f"{index:,} examples counted")
    return sums


def _plans(chosen: list[tuple[int, str]], template: ChatTemplate, sums: _Sums) -> Iterator[tuple[int, Plan]]:
    """Rendered examples with their places; those that the template refuses are noted, an unsafe template ends all."""
    for place, text in chosen:
        try:
            yield place, _planned(json.loads(text), template)
        except Refused as error:
            if error.problem == UNSAFE:
                raise
            sums.refused += 1
            sums.refused_words = sums.refused_words or error.problem


def _histogram(lengths: list[int]) -> dict[str, Any]:
    """Bars of even width in tokens, the first from 0; `width` is a round number."""
    most = max(lengths)
    width = next(w for p in range(1, 8) for w in (10**p // 2, 10**p, 2 * 10**p) if w * _BARS > most)
    counts = [0] * (most // width + 1)
    for length in lengths:
        counts[length // width] += 1
    return {"width": width, "counts": counts}
