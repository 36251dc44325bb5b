"""The order of a chat's turns: what is wrong with it, and how it is put right. Pure: messages in, messages out."""

import re
from itertools import pairwise
from typing import Any

from studio.core.examples import Messages

BETWEEN = "\n\n"
_WRITTEN_CALL = re.compile(r"<\W*(?:tool|function)_?\W?call|\"(?:name|function|action)\"\s*:", re.IGNORECASE)


def disorder(messages: Messages) -> str:
    """What is wrong with the order of the turns, as one of a few fixed words; empty where nothing is.

    A chat of the assistant alone is in order: that is how answers without a question are kept.
    """
    roles = [message.get("role") for message in messages]
    if "system" in roles[1:]:
        return "system turn not first"
    if "tool" in roles and any(not _called(messages, place) for place, role in enumerate(roles) if role == "tool"):
        return "tool turn without a call"
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    for role, following in pairwise(spoken):
        if role == following and role in ("user", "assistant"):
            return f"two turns of the {role} in a row"
    if spoken and spoken[0] == "assistant" and "user" in spoken:
        return "starts with the assistant"
    return "" if not spoken or spoken[-1] == "assistant" else "ends without an answer"


def _called(messages: Messages, place: int) -> bool:
    """Whether a tool's turn answers a call: of the assistant's turn before it, other tools' turns between them."""
    while place > 0 and messages[place].get("role") == "tool":
        place -= 1
    before = messages[place]
    if before.get("role") != "assistant":
        return False
    return bool(before.get("tool_calls")) or _WRITTEN_CALL.search(str(before.get("content") or "")) is not None


def mend_roles(messages: Messages) -> tuple[Messages, bool]:
    """The chat in order, and whether that changed it.

    System turns go first, tool turns without a call and turns before the first question and after the last answer
    are left out, neighbours of one role become one turn with a blank line between. A chat without a question or
    without an answer that could follow it comes out empty.
    """
    if not disorder(messages):
        return messages, False
    system = [message for message in messages if message.get("role") == "system"]
    spoken = [m for place, m in enumerate(messages)
              if m.get("role") != "system" and (m.get("role") != "tool" or _called(messages, place))]  # fmt: skip
    roles = [message.get("role") for message in spoken]
    first = roles.index("user") if "user" in roles else 0
    last = len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else -1
    mended = _joined(spoken[first : last + 1])
    if not any(message.get("role") == "assistant" for message in mended):
        return [], True
    return [*_joined(system), *mended], True


def _joined(messages: Messages) -> Messages:
    """Neighbours of one role as one turn; tools' turns stay apart."""
    joined: Messages = []
    for message in messages:
        if joined and message.get("role") == joined[-1].get("role") != "tool":
            joined[-1] = _one(joined[-1], message)
        else:
            joined.append(message)
    return joined


def _one(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two turns as one: their texts, their calls, and the lower weight: nothing is learnt that was not to be."""
    texts = [str(message.get("content") or "") for message in (first, second)]
    one = {**second, **first, "content": BETWEEN.join(text for text in texts if text.strip())}
    calls = [*(first.get("tool_calls") or []), *(second.get("tool_calls") or [])]
    if calls:
        one["tool_calls"] = calls
    weights = [message["weight"] for message in (first, second) if message.get("weight") is not None]
    if weights:
        one["weight"] = min(weights)
    return one
