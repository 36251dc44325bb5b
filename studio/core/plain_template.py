"""The short way to what is learnt, for templates that write a chat as one block after another (most do).

Rendering the beginning of a chat again for every turn takes most of the time of preparing a dataset. Here a template is
tried once: where its blocks are the same wherever they stand, and an answer begins just where the model is asked to
begin, the places of all turns follow from their words. The text itself is still the template's own: where it is not,
letter by letter, what the blocks foretell, the long way is taken. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from studio.core.errors import Refused
from studio.core.template import ChatTemplate, Message, Span, render

_WORDS = ("firstquestion", "firstanswer", "nextquestion", "nextanswer")
_PLAIN = frozenset(("role", "content", "weight"))


@dataclass(frozen=True)
class Blocks:
    """What stands before and after a turn's words, by role; `head` is what the template itself puts first."""

    head: str
    user: tuple[str, str]
    assistant: tuple[str, str]
    system: tuple[str, str] | None

    def places(self, messages: Sequence[Message], text: str) -> list[tuple[Span, Span]] | None:
        """For each message its block and its words in `text`; None where `text` is not what the blocks foretell."""
        return self._foretold(messages, text, strip=False) or self._foretold(messages, text, strip=True)

    def _foretold(self, messages: Sequence[Message], text: str, strip: bool) -> list[tuple[Span, Span]] | None:
        begins_with_system = messages[0]["role"] == "system"
        at = 0 if begins_with_system else len(self.head)
        if not begins_with_system and not text.startswith(self.head):
            return None
        places = []
        for i, message in enumerate(messages):
            around = self._around(str(message["role"]), first=i == 0)
            if around is None or not _PLAIN.issuperset(message):
                return None
            words = message["content"].strip() if strip else message["content"]
            start = at + len(around[0])
            end = start + len(words)
            last = end + len(around[1])
            if not (text.startswith(around[0], at) and text.startswith(words, start)
                    and text.startswith(around[1], end)):  # fmt: skip
                return None
            places.append(((at if i else 0, last), (start, end)))
            at = last
        return places if at == len(text) else None

    def _around(self, role: str, first: bool) -> tuple[str, str] | None:
        if role == "system":
            return self.system if first else None
        return {"user": self.user, "assistant": self.assistant}.get(role)


@lru_cache(maxsize=8)
def _tried(source: str, special: tuple[tuple[str, str], ...]) -> Blocks | None:
    template = ChatTemplate(source, dict(special))
    chat = [{"role": ("user", "assistant")[i % 2], "content": word} for i, word in enumerate(_WORDS)]
    try:
        whole = [render(template, chat[:n]) for n in range(1, 5)]
        asked = [render(template, chat[:n], add_generation_prompt=True).text for n in (1, 3)]
    except Refused:
        return None
    texts = [one.text for one in whole]
    if any(one.generated for one in whole) or not all(b.startswith(a) for a, b in pairwise(texts)):
        return None
    blocks = [b[len(a) :].partition(word) for (a, b), word in zip(pairwise(["", *texts]), _WORDS, strict=True)]
    answer, question = (blocks[1][0], blocks[1][2]), (blocks[2][0], blocks[2][2])
    same = (blocks[3][0], blocks[3][2]) == answer and blocks[0][2] == question[1] and blocks[0][0].endswith(question[0])
    if not same or asked != [texts[0] + answer[0], texts[2] + answer[0]] or not answer[1]:
        return None
    head = blocks[0][0][: len(blocks[0][0]) - len(question[0])]
    return Blocks(head, question, answer, _system(template, question))


def _system(template: ChatTemplate, question: tuple[str, str]) -> tuple[str, str] | None:
    """What stands around a system message at the beginning; None where the template mixes it with something else."""
    chat = [{"role": "system", "content": "rules"}, {"role": "user", "content": _WORDS[0]}]
    try:
        text = render(template, chat).text
    except Refused:
        return None
    block = question[0] + _WORDS[0] + question[1]
    before, found, after = text.removesuffix(block).partition("rules")
    return (before, after) if found and text.endswith(block) else None


def blocks_of(template: ChatTemplate) -> Blocks | None:
    """The blocks of a template; None where it is not one of these. Tried once and kept."""
    return _tried(template.source, tuple(sorted(template.special.items())))
