"""What is learnt: messages and a tokenizer in, token ids and labels out. The one function for trainer and preview.

Pure: no torch, no transformers, no disk. A chat template is a stranger's program (`template.py`): call this only in a
process under limits.
"""

import heapq
import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from studio.core.errors import Refused
from studio.core.template import ANOTHER_MODEL, UNSAFE, ChatTemplate, Message, Rendered, Span, render

__all__ = [
    "ANOTHER_MODEL",
    "IGNORED",
    "UNSAFE",
    "ChatTemplate",
    "Encoded",
    "Encoder",
    "Learnt",
    "Plan",
    "Rendered",
    "Turn",
    "eval_rows",
    "held_out",
    "label",
    "learn",
    "plan",
    "render",
]

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """Token ids, and for each its span in characters of the text."""

    ids: list[int]
    offsets: list[Span]


class Encoder(Protocol):
    """What is asked of a tokenizer. It adds no special tokens of its own: the template writes them."""

    special_ids: frozenset[int]
    eos_id: int | None

    def encode(self, text: str) -> Encoded:
        """Tokens of one text."""
        ...


@dataclass(frozen=True)
class Turn:
    """Where one message stands in the text: all of it, and its words without the template's marks."""

    role: str
    start: int
    end: int
    words: Span
    learnt: bool


@dataclass(frozen=True)
class Plan:
    """A rendered chat with the spans to learn; tokens are not known yet."""

    text: str
    spans: tuple[Span, ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Learnt:
    """One example, ready to train on. `labels` are ids or -100; `cut` counts tokens left out at the end.

    `ends` says whether an end-of-turn token is learnt: without one the model never stops.
    """

    text: str
    ids: list[int]
    labels: list[int]
    offsets: list[Span]
    turns: tuple[Turn, ...]
    cut: int
    ends: bool

    @property
    def learnt(self) -> int:
        """How many tokens are learnt."""
        return sum(label != IGNORED for label in self.labels)


def learn(
    messages: Sequence[Message], template: ChatTemplate, encoder: Encoder, max_length: int | None = None
) -> Learnt:
    """One example. Raises `Refused` where the chat can not be rendered or what is learnt can not be told apart."""
    planned = plan(messages, template)
    return label(planned, encoder.encode(planned.text), encoder, max_length)


def plan(messages: Sequence[Message], template: ChatTemplate) -> Plan:
    """The text and the spans to learn: by the template's marks where it has them, else by rendered prefixes."""
    whole = render(template, messages)
    answers = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
    wanted = [i for i in answers if messages[i].get("weight", 1) != 0]
    if not whole.generated:
        spans = {i: _by_prefix(messages, i, template, whole.text) for i in wanted}
    elif len(whole.generated) == len(answers):
        spans = {i: span for i, span in zip(answers, whole.generated, strict=True) if i in wanted}
    elif len(wanted) == len(answers):
        spans = dict(enumerate(whole.generated))
    else:
        raise Refused(
            "This model's chat template does not tell which answer has weight 0.", "Leave such answers out of the file."
        )
    turns = _turns(messages, template, whole.text, spans if len(spans) == len(wanted) else {}, set(wanted))
    return Plan(whole.text, tuple(sorted(spans.values())), turns)


def _by_prefix(messages: Sequence[Message], i: int, template: ChatTemplate, whole: str) -> Span:
    """The span of answer `i`: what stands between the text before it and the text with it."""
    before = render(template, messages[:i], add_generation_prompt=True).text
    upto = whole if i == len(messages) - 1 else render(template, messages[: i + 1]).text
    if upto.startswith(before) and whole.startswith(upto):
        return len(before), len(upto)
    raise Refused(
        f"This model's chat template writes turn {i + 1} differently when it is read than when it is answered, "
        "so what is learnt can not be told apart.",
        "Choose another model, or examples with one answer each.",
    )


def _turns(
    messages: Sequence[Message], template: ChatTemplate, text: str, spans: Mapping[int, Span], wanted: set[int]
) -> tuple[Turn, ...]:
    starts = [0]
    for i in range(1, len(messages)):
        start = _prefix_length(messages[:i], template, text)
        if start is None or start < starts[-1]:  # a turn that is written differently in place: begin at its words
            start = max(text.find(_words(messages[i]), starts[-1]), starts[-1])
        starts.append(start)
    turns = []
    for i, (message, start, end) in enumerate(zip(messages, starts, [*starts[1:], len(text)], strict=True)):
        words = _words(message)
        at = text.find(words, start, end)
        found = (at, at + len(words)) if words and at >= 0 else (end, end)
        turns.append(Turn(str(message.get("role", "")), start, end, spans.get(i, found), i in wanted))
    return tuple(turns)


def _prefix_length(messages: Sequence[Message], template: ChatTemplate, text: str) -> int | None:
    try:
        prefix = render(template, messages).text
    except Refused as error:
        if error.problem == UNSAFE:
            raise
        return None
    return len(prefix) if text.startswith(prefix) else None


def _words(message: Message) -> str:
    return str(message.get("content") or "").strip()


def label(planned: Plan, encoded: Encoded, encoder: Encoder, max_length: int | None = None) -> Learnt:
    """`planned` with its tokens: a token is learnt iff its characters start inside a span; zero-width ones are not."""
    starts = [start for start, _ in encoded.offsets]
    labels = [IGNORED] * len(encoded.ids)
    kept = len(labels) if max_length is None else min(max_length, len(labels))
    ends = False
    for first, last in planned.spans:
        low, high = bisect_left(starts, first), bisect_left(starts, last)
        stop = _end_of_turn(planned.text, encoded, encoder.special_ids, (low, high), last)
        ends = ends or (stop is not None and stop < kept)
        for k in range(low, high if stop is None else stop + 1):
            if encoded.offsets[k][1] > encoded.offsets[k][0]:
                labels[k] = encoded.ids[k]
    return Learnt(
        planned.text, encoded.ids[:kept], labels[:kept], encoded.offsets[:kept], planned.turns,
        len(encoded.ids) - kept, ends,
    )  # fmt: skip


def _end_of_turn(text: str, encoded: Encoded, special: frozenset[int], tokens: Span, last: int) -> int | None:
    """The special token that closes a span, with only white space after it; that white space is not learnt."""
    for k in range(tokens[1] - 1, tokens[0] - 1, -1):
        if encoded.ids[k] in special:
            return k if not text[encoded.offsets[k][1] : last].strip() else None
        if text[encoded.offsets[k][0] : encoded.offsets[k][1]].strip():
            return None
    return None


def held_out(n: int, share: float, seed: int) -> frozenset[int]:
    """Which of `n` examples are held out: `share` of them, at least one and never all; none where `share` is 0.

    `Random.random` gives the same numbers for a seed in every version of Python (`sample` promises no such thing).
    """
    if n < 2 or share <= 0:
        return frozenset()
    draw = random.Random(seed).random  # noqa: S311 (not for secrets)
    numbers = [draw() for _ in range(n)]
    return frozenset(heapq.nsmallest(min(max(1, int(n * share + 0.5)), n - 1), range(n), key=numbers.__getitem__))


def eval_rows(splits: Sequence[str | None], share: float, seed: int) -> frozenset[int]:
    """The examples to check with: those the dataset names itself (`eval`), else `held_out`. Trainer and panel agree."""
    own = frozenset(i for i, split in enumerate(splits) if split == "eval")
    return own or held_out(len(splits), share, seed)
