"""What a file's columns mean: the shape that its names and first rows show. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.conversations import opened
from studio.core.formats import Mapped, is_chat, plain_name, split_column, verdict

_USUAL: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "chat", "dialog", "dialogue", "turns"),
    "completion": (
        "completion", "answer", "output", "response", "assistant", "reply", "target", "learnt", "label", "solution",
        "gpt", "bot", "expected", "json", "answers", "a", "antwort", "réponse", "respuesta", "resposta", "risposta",
    ),
    "prompt": (
        "prompt", "question", "instruction", "input", "query", "user", "ask", "asked", "human", "request", "spoken",
        "source", "problem", "text", "questions", "q", "frage", "pregunta", "pergunta", "domanda",
    ),
    "system": ("system", "system_prompt", "system prompt"),
    "chosen": ("chosen", "preferred_output", "preferred", "accepted", "winner"),
    "rejected": ("rejected", "non_preferred_output", "non_preferred", "dispreferred", "not_preferred", "loser"),
    "tools": ("tools", "functions"),
    "label": ("label", "verdict", "good", "is_good", "thumbs", "feedback", "rating"),
    "text": ("text", "content", "document", "body", "paragraph", "passage", "article"),
    "input": ("input", "context"),
    "history": ("history",),
}  # fmt: skip
_JUDGED = ("completion", "answer", "output", "response", "reply")


@dataclass(frozen=True)
class Guess:
    """What the columns seem to mean. `certain` is False where a person should look; `unused` are left out."""

    format: str
    mapping: dict[str, str]
    certain: bool
    unused: list[str]


class _Look:
    """The columns that are still to be explained, and the first rows."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        self.rest = [column for column in columns if column != split_column(columns)]
        self.rows = rows

    def exact(self, role: str) -> str:
        """The column whose whole name is usual for `role`, the most usual first; empty where none is."""
        names = {plain_name(column): column for column in reversed(self.rest)}
        return next((names[usual] for usual in _USUAL[role] if usual in names), "")

    def worded(self, role: str, among: Sequence[str]) -> str:
        """As `exact`, else one of `among` with a usual word in its name."""
        found = self.exact(role)
        if found:
            return found
        words = {column: re.findall(r"\w+", re.sub(r"([a-z])([A-Z])|_", r"\1 \2", column).lower()) for column in among}
        usual = [word for word in _USUAL[role] if len(word) > 1]
        return next((column for word in usual for column in among if word in words[column]), "")

    def texts(self) -> list[str]:
        """The columns that hold words."""
        return [column for column in self.rest if any(_is_words(row.get(column)) for row in self.rows)] or self.rest

    def chats(self) -> list[str]:
        """The columns that hold whole chats."""
        return [column for column in self.rest if any(is_chat(opened(row.get(column))) for row in self.rows)]

    def take(self, mapping: dict[str, str], *roles: str) -> dict[str, str]:
        """`mapping` with more roles whose columns have their exact names and are not taken yet."""
        for role in roles:
            column = self.exact(role)
            if column and column not in mapping.values():
                mapping[role] = column
        return mapping

    def guess(self, mapping: dict[str, str], certain: bool) -> Guess:
        """The guess with the columns that nothing is done with."""
        unused = [column for column in self.rest if column not in mapping.values()]
        return Guess(format_of(mapping, self.rows), mapping, certain, unused)


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Guess:
    """What the columns mean, by their usual names and by what stands in the first rows."""
    look = _Look(columns, rows)
    return _preferences(look) or _chats(look) or _judged(look) or _alpaca(look) or _pairs(look)


def _preferences(look: _Look) -> Guess | None:
    chosen, rejected = look.exact("chosen"), look.exact("rejected")
    if not chosen or not rejected:
        return None
    mapping = {"chosen": chosen, "rejected": rejected}
    prompt = look.exact("prompt")
    if prompt:
        mapping = {"prompt": prompt, **mapping}
    whole = any(is_chat(opened(row.get(chosen))) for row in look.rows)
    return look.guess(look.take(mapping, "system", "tools"), bool(prompt) or whole)


def _chats(look: _Look) -> Guess | None:
    chats = look.chats()
    prompt, completion = look.exact("prompt"), look.exact("completion")
    if not chats or (prompt in chats and completion in chats):
        return None
    named = [column for usual in _USUAL["messages"] for column in chats if plain_name(column) == usual]
    return look.guess(look.take({"messages": (named or chats)[0]}, "system", "tools"), True)


def _judged(look: _Look) -> Guess | None:
    """Answers with a verdict each: a column of that name whose every value is one, beside an answer."""
    label = look.exact("label")
    names = {plain_name(column): column for column in look.rest}
    completion = next((names[name] for name in _JUDGED if name in names), "")
    seen = [row.get(label) for row in look.rows if row.get(label) is not None]
    if not label or not completion or not seen or any(verdict(value) is None for value in seen):
        return None
    prompt = look.worded("prompt", [column for column in look.texts() if column not in (label, completion)])
    if not prompt:
        return None
    return look.guess(look.take({"prompt": prompt, "completion": completion, "label": label}, "system"), True)


def _alpaca(look: _Look) -> Guess | None:
    names = {plain_name(column): column for column in look.rest}
    completion = next((names[name] for name in ("output", "response", "answer", "completion") if name in names), "")
    if "instruction" not in names or not completion:
        return None
    mapping = {"prompt": names["instruction"], "completion": completion}
    return look.guess(look.take(mapping, "input", "system", "history"), True)


def _pairs(look: _Look) -> Guess:
    texts = look.texts()
    mapping = look.take({}, "system")
    left = [column for column in texts if column not in mapping.values()]
    learnt = look.worded("completion", left)
    left = [column for column in left if column != learnt]
    asked = look.worded("prompt", left)
    asked = "" if asked == learnt else asked
    if asked and learnt:
        return look.guess(look.take({"prompt": asked, "completion": learnt, **mapping}, "tools"), True)
    plain = look.exact("text") or (texts[0] if len(texts) == 1 else "")
    others = [column for column in left if column != plain]
    if plain and not learnt and (len(others) == 0 or plain_name(plain) == "text"):
        return look.guess({"text": plain}, plain_name(plain) in _USUAL["text"])
    free = [*left, *(column for column in look.rest if column not in (*left, learnt, *mapping.values()))]
    asked = asked or next((column for column in free if column != learnt), "")
    learnt = learnt or next((column for column in free if column != asked), "")
    if not asked or not learnt:
        return look.guess({"text": asked or learnt}, False)
    return look.guess({"prompt": asked, "completion": learnt, **mapping}, False)


def format_of(mapping: Mapped, rows: Sequence[Mapping[str, Any]]) -> str:
    """The name of the shape that a mapping stands for: `openai_chat`, `sharegpt`, `alpaca`, ..."""
    if "text" in mapping:
        return "text"
    if "chosen" in mapping:
        return "openai_preference" if plain_name(mapping["chosen"]) == "preferred_output" else "preference"
    if "messages" in mapping:
        chats = [opened(row.get(mapping["messages"])) for row in rows]
        first: list[Any] = next((chat for chat in chats if is_chat(chat)), [{}])
        return "sharegpt" if "from" in first[0] else "openai_chat"
    if "label" in mapping:
        return "unpaired_preference"
    is_alpaca = {"input", "history"} & set(mapping) or plain_name(mapping.get("prompt", "")) == "instruction"
    return "alpaca" if is_alpaca else "prompt_completion"


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not re.fullmatch(r"[-+\d.,%€$: ]+", value)
