"""What kinds of data and their columns are called on a page, and which columns a kind has. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FORMATS = {
    "openai_chat": "OpenAI chats",
    "sharegpt": "ShareGPT chats",
    "alpaca": "Alpaca",
    "prompt_completion": "Question and answer",
    "openai_preference": "OpenAI preferences",
    "preference": "Preferences",
    "unpaired_preference": "Judged answers",
    "text": "Plain text",
}
LABELS = {
    "messages": "Chat",
    "prompt": "Asked",
    "input": "Asked besides",
    "completion": "Learnt",
    "chosen": "Preferred",
    "rejected": "Not preferred",
    "label": "Verdict",
    "text": "Text",
    "system": "Instructions",
    "history": "Earlier turns",
    "tools": "Tools",
}
INFOS = {
    "messages": "A whole chat in each row.",
    "prompt": "What the model is asked.",
    "input": "Put below what is asked.",
    "completion": "What it is taught to answer.",
    "chosen": "The better answer.",
    "rejected": "The worse answer.",
    "label": "Yes or no: is the answer good.",
    "text": "All of it is learnt.",
    "system": "Said to the model first.",
    "history": "What was said before.",
    "tools": "What the model may call.",
}
VERBS = {
    "messages": "holds the chats",
    "prompt": "is asked",
    "input": "is asked besides",
    "completion": "is learnt",
    "chosen": "is preferred",
    "rejected": "is not preferred",
    "label": "is the verdict",
    "text": "is learnt",
    "system": "are the instructions",
    "history": "holds earlier turns",
    "tools": "holds the tools",
}
TAUGHT = frozenset({"messages", "completion", "chosen", "text"})  # what is learnt has one mark everywhere
ROLES = tuple(LABELS)


@dataclass(frozen=True)
class Sort:
    """A kind of data that a person can choose: its words, the roles it needs and those it may have besides."""

    name: str
    words: str
    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """All its roles, in the order of the dropdowns."""
        return tuple(role for role in ROLES if role in (*self.needed, *self.optional))


SORTS = {
    one.name: one
    for one in (
        Sort("pair", "Question and answer", ("prompt", "completion"), ("system",)),
        Sort("chat", "Chats", ("messages",), ("system", "tools")),
        Sort("alpaca", "Alpaca", ("prompt", "completion"), ("input", "system", "history")),
        Sort("preference", "Preferences", ("chosen", "rejected"), ("prompt", "system", "tools")),
        Sort("judged", "Judged answers", ("prompt", "completion", "label"), ("system",)),
        Sort("text", "Plain text", ("text",)),
    )
}
# A role that is still empty is filled with what another one had, when the kind is switched.
_NEAR = {
    "prompt": ("text",),
    "completion": ("chosen", "text"),
    "chosen": ("completion", "text"),
    "text": ("completion", "chosen", "prompt"),
}


def format_name(name: str) -> str:
    """A recognised shape in words; empty where there is none."""
    return FORMATS.get(name, "")


def sort_of(mapping: Mapping[str, str]) -> str:
    """The kind that a mapping stands for."""
    chosen = {role for role, column in mapping.items() if column}
    if "messages" in chosen:
        return "chat"
    if {"chosen", "rejected"} & chosen:
        return "preference"
    if "text" in chosen:
        return "text"
    if "label" in chosen:
        return "judged"
    return "alpaca" if {"input", "history"} & chosen else "pair"


def fitted(sort: str, mapping: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """`mapping` for another kind: what it has in common stays, what is needed is filled with the nearest column."""
    kind = SORTS[sort]
    found = {role: mapping[role] for role in kind.roles if mapping.get(role)}
    for role in kind.needed:
        if role not in found:
            near = [mapping.get(other, "") for other in _NEAR.get(role, ())]
            free = (column for column in (*near, *columns) if column and column not in found.values())
            found[role] = next(free, "")
    return found
