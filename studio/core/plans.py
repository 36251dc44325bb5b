"""A rendered chat with what is learnt of it, before its tokens are known; and the config's choice among its words."""

from typing import NamedTuple

from studio.core.template import Span


class Turn(NamedTuple):
    """Where one message stands in the text: all of it, and its words without the template's marks."""

    role: str
    start: int
    end: int
    words: Span
    learnt: bool


class Plan(NamedTuple):
    """A rendered chat with the spans to learn; tokens are not known yet."""

    text: str
    spans: tuple[Span, ...]
    turns: tuple[Turn, ...]


def narrowed(planned: Plan, learn: str) -> Plan:
    """`planned` with what is learnt as the config's `learn` says; "answers" is how it is planned."""
    if learn == "everything":
        return _everything(planned)
    if learn == "last_answer" and planned.spans:
        last = planned.spans[-1]
        chosen = [turn for turn in planned.turns if turn.learnt and turn.start < last[1] and last[0] < turn.end]
        turns = tuple(turn._replace(learnt=turn in chosen[-1:]) for turn in planned.turns)
        return planned._replace(spans=(last,), turns=turns)
    return planned


def _everything(planned: Plan) -> Plan:
    """All of the text but answers of weight 0."""
    turns = tuple(turn._replace(learnt=turn.learnt or turn.role != "assistant") for turn in planned.turns)
    spans, start = [], 0
    for turn in turns:
        if not turn.learnt:
            spans.append((start, turn.start))
            start = turn.end
    spans.append((start, len(planned.text)))
    return planned._replace(spans=tuple((first, last) for first, last in spans if first < last), turns=turns)
