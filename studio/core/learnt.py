"""What is learnt: messages and a tokenizer in, token ids and labels out. The one function for trainer and preview.

Pure: no torch, no transformers, no disk. A chat template is a stranger's program (`template.py`): call this only in a
process under limits.
"""

import heapq
import random
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

from studio.core.errors import Refused
from studio.core.examples import Example
from studio.core.plain_template import blocks_of
from studio.core.plans import Plan, Turn, narrowed
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
    "learn_example",
    "narrowed",
    "plan",
    "plan_example",
    "render",
]

IGNORED = -100
_STAND_IN = "tunesmithstandin"


class Encoded(NamedTuple):
    """Token ids, and for each its span in characters of the text."""

    ids: list[int]
    offsets: Sequence[Span]


class Encoder(Protocol):
    """What is asked of a tokenizer. It adds no special tokens of its own: the template writes them.

    `bos` is the text of the token that it would begin plain text with, empty where it has none.
    """

    special_ids: frozenset[int]
    eos_id: int | None
    bos: str

    def encode(self, text: str) -> Encoded:
        """Tokens of one text."""
        ...


@dataclass(frozen=True)
class Learnt:
    """One example, ready to train on. `labels` are ids or -100; `cut` counts tokens left out at the end.

    `ends` says whether an end-of-turn token is learnt: without one the model never stops.
    """

    text: str
    ids: list[int]
    labels: list[int]
    offsets: Sequence[Span] = field(compare=False)
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


def learn_example(
    example: Example,
    template: ChatTemplate,
    encoder: Encoder,
    max_length: int | None = None,
    learn: str = "answers",
) -> Learnt:
    """One example of any shape. Raises `Refused` as `learn` does."""
    planned = plan_example(example, template, encoder.bos, learn)
    return label(planned, encoder.encode(planned.text), encoder, max_length)


def plan_example(example: Example, template: ChatTemplate, bos: str = "", learn: str = "answers") -> Plan:
    """The plan of a chat with its tools, or of plain text: all of it is learnt, and that it ends.

    `learn` is the config's: `answers`, `last_answer` (only the last turn that is learnt), or `everything`.
    """
    if example.messages:
        return narrowed(plan(example.messages, template, example.tools), learn)
    begin, end = len(bos), len(bos) + len(example.text)
    text = bos + example.text + template.special.get("eos_token", "")
    return Plan(text, ((begin, len(text)),), (Turn("text", 0, len(text), (begin, end), True),))


def plan(messages: Sequence[Message], template: ChatTemplate, tools: Sequence[Any] | None = None) -> Plan:
    """The text and the spans to learn: by the template's marks where it has them, else by rendered prefixes."""
    whole = render(template, messages, tools=tools)
    short = _short_way(messages, template, whole) if not tools else None
    if short is not None:
        return short
    answers = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
    wanted = [i for i in answers if _is_learnt(messages[i])]
    if not whole.generated:
        spans = {i: _by_prefix(messages, i, template, whole.text, tools) for i in wanted}
    elif len(whole.generated) == len(answers):
        spans = {i: span for i, span in zip(answers, whole.generated, strict=True) if i in wanted}
    elif len(wanted) == len(answers):
        spans = dict(enumerate(whole.generated))
    else:
        raise Refused(
            "This model's chat template does not tell which answer has weight 0.", "Leave such answers out of the file."
        )
    known = spans if len(spans) == len(wanted) else {}
    turns = _turns(messages, whole.text, known, lambda i: _prefix_length(messages[:i], template, whole.text, tools))
    return Plan(whole.text, tuple(sorted(spans.values())), turns)


def _short_way(messages: Sequence[Message], template: ChatTemplate, whole: Rendered) -> Plan | None:
    """The same plan as the long way gives, for templates that write block after block; None for all others."""
    blocks = blocks_of(template) if not whole.generated else None
    places = blocks.places(messages, whole.text) if blocks else None
    if blocks is None or places is None:
        return None
    turns, spans = [], []
    for message, (block, words) in zip(messages, places, strict=True):
        role, learnt = str(message["role"]), _is_learnt(message)
        if learnt:
            words = (words[0], block[1])
            spans.append(words)
        else:
            words = _trimmed(whole.text, words, block[1])
        turns.append(Turn(role, *block, words, learnt))
    return Plan(whole.text, tuple(spans), tuple(turns))


def _trimmed(text: str, words: Span, end: int) -> Span:
    """The words without white space around them; where there are none, the end of the turn."""
    inner = text[words[0] : words[1]]
    bare = inner.strip()
    start = words[0] + len(inner) - len(inner.lstrip())
    return (start, start + len(bare)) if bare else (end, end)


def _by_prefix(
    messages: Sequence[Message], i: int, template: ChatTemplate, whole: str, tools: Sequence[Any] | None
) -> Span:
    """The span of answer `i`: what stands between the text before it and the text with it."""
    before = render(template, messages[:i], add_generation_prompt=True, tools=tools).text
    upto = whole if i == len(messages) - 1 else render(template, messages[: i + 1], tools=tools).text
    if upto.startswith(before):
        found = (len(before), len(upto)) if whole.startswith(upto) else None
        found = found or _by_stand_in(messages, i, template, whole, tools)
        if found is not None:
            return found
    raise Refused(
        f"This model's chat template writes turn {i + 1} differently when it is read than when it is answered, "
        "so what is learnt can not be told apart.",
        "Choose another model, or examples with one answer each.",
    )


def _by_stand_in(
    messages: Sequence[Message], i: int, template: ChatTemplate, whole: str, tools: Sequence[Any] | None
) -> Span | None:
    """The span of answer `i` in templates that write earlier turns anew: where another word in its place would stand.

    It ends with what closes the last turn of a chat. A tool call may be opened differently than words: it begins where
    the texts part. None where the answer has neither.
    """
    called = bool(messages[i].get("tool_calls"))
    if not called and not _words(messages[i]):
        return None
    stand_in: Message = {"role": "assistant", "content": _STAND_IN}
    parts = render(template, [*messages[:i], stand_in, *messages[i + 1 :]], tools=tools).text.split(_STAND_IN)
    alone = render(template, [{"role": "user", "content": "x"}, stand_in]).text.partition(_STAND_IN)[2]
    if len(parts) != 2 or not whole.endswith(parts[1]):
        return None
    start, end = _same(whole, parts[0]), len(whole) - len(parts[1])
    if start >= end or (start < len(parts[0]) and not called):
        return None
    return start, end + _same(alone, parts[1])


def _same(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _turns(
    messages: Sequence[Message], text: str, spans: Mapping[int, Span], prefix_length: Callable[[int], int | None]
) -> tuple[Turn, ...]:
    starts = [0]
    for i in range(1, len(messages)):
        start = prefix_length(i)
        if start is None or start < starts[-1]:  # a turn that is written differently in place: begin at its words
            start = max(text.find(_words(messages[i]), starts[-1]), starts[-1])
        starts.append(start)
    turns = []
    for i, (message, start, end) in enumerate(zip(messages, starts, [*starts[1:], len(text)], strict=True)):
        words = _words(message)
        at = text.find(words, start, end)
        found = (at, at + len(words)) if words and at >= 0 else (end, end)
        turns.append(Turn(str(message.get("role", "")), start, end, spans.get(i, found), _is_learnt(message)))
    return tuple(turns)


def _is_learnt(message: Message) -> bool:
    return message.get("role") == "assistant" and message.get("weight", 1) != 0


def _prefix_length(
    messages: Sequence[Message], template: ChatTemplate, text: str, tools: Sequence[Any] | None
) -> int | None:
    try:
        prefix = render(template, messages, tools=tools).text
    except Refused as error:
        if error.problem == UNSAFE:
            raise
        return None
    return len(prefix) if text.startswith(prefix) else None


def _words(message: Message) -> str:
    return str(message.get("content") or "").strip()


def label(
    planned: Plan, encoded: Encoded, encoder: Encoder, max_length: int | None = None, *, spans: bool = True
) -> Learnt:
    """`planned` with its tokens: a token is learnt iff its characters start inside a span; zero-width ones are not.

    Without `spans` the result has no `offsets`, which only a page needs.
    """
    offsets, places = encoded.offsets, range(len(encoded.ids))
    span = getattr(offsets, "span", offsets.__getitem__)
    labels = [IGNORED] * len(places)
    kept = len(labels) if max_length is None else min(max_length, len(labels))
    ends = False
    for first, last in planned.spans:
        low, high = (bisect_left(places, edge, key=lambda k: span(k)[0]) for edge in (first, last))
        stop = _end_of_turn(planned.text, encoded, encoder.special_ids, (low, high), last)
        ends = ends or (stop is not None and stop < kept)
        end = high if stop is None else stop + 1
        labels[low:end] = encoded.ids[low:end]
        for k in range(low, end):
            start, after = span(k)
            if start == after:
                labels[k] = IGNORED
    cut = len(encoded.ids) - kept
    shown = offsets[:kept] if spans else ()  # a view of them keeps all that the tokenizer knows in memory
    return Learnt(planned.text, encoded.ids[:kept], labels[:kept], shown, planned.turns, cut, ends)


def _end_of_turn(text: str, encoded: Encoded, special: frozenset[int], tokens: Span, last: int) -> int | None:
    """The special token that closes a span, with only white space after it; that white space is not learnt."""
    for k in range(tokens[1] - 1, tokens[0] - 1, -1):
        if encoded.ids[k] in special:
            return k if not text[encoded.offsets[k][1] : last].strip() else None
        if text[encoded.offsets[k][0] : encoded.offsets[k][1]].strip():
            return None
    return None


def held_out(n: int, share: float, seed: int, groups: Sequence[int] | None = None) -> frozenset[int]:
    """Which of `n` examples are held out: `share` of them, at least one and never all; none where `share` is 0.

    Examples of one group (duplicates) stay together, so that nothing is checked that was learnt. `Random.random` gives
    the same numbers for a seed in every version of Python (`sample` promises no such thing).
    """
    if n < 2 or share <= 0:
        return frozenset()
    draw = random.Random(seed).random  # noqa: S311 (not for secrets)
    most = min(max(1, int(n * share + 0.5)), n - 1)
    if groups is None or len(set(groups)) == n:
        numbers = [draw() for _ in range(n)]
        return frozenset(heapq.nsmallest(most, range(n), key=numbers.__getitem__))
    return frozenset(_whole_groups(groups, most, draw))


def _whole_groups(groups: Sequence[int], most: int, draw: Callable[[], float]) -> list[int]:
    """At most `most` examples in whole groups, drawn group by group; the smallest group where none is small enough."""
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if len(members) < 2:
        return []
    numbers = {group: draw() for group in members}
    chosen: list[int] = []
    for group in sorted(members, key=numbers.__getitem__):
        if len(chosen) + len(members[group]) <= most:
            chosen += members[group]
    return chosen or min(members.values(), key=len)


def eval_rows(
    splits: Sequence[str | None], share: float, seed: int, groups: Sequence[int] | None = None
) -> frozenset[int]:
    """The examples to check with: those the dataset names itself (`eval`), else `held_out`. Trainer and panel agree."""
    own = frozenset(i for i, split in enumerate(splits) if split == "eval")
    return own or held_out(len(splits), share, seed, groups)
