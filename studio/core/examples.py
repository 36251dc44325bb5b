"""One example as it is kept, whatever shape its file had. Pure: values in, values out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Example:
    """A chat (`messages`), or plain `text` where there are none.

    `tools` are described to the model by its template. `rejected` is the answer that was not preferred (the last of
    `messages` is the one that was); `label` says whether an answer is a good one, where each has a verdict of its own.
    """

    messages: Messages
    text: str = ""
    tools: list[Any] | None = None
    rejected: Messages | None = None
    label: bool | None = None

    @property
    def answers(self) -> list[str]:
        """What the model is to say: the contents of the assistant's messages, or the text."""
        said = [str(message.get("content") or "") for message in self.messages if message.get("role") == "assistant"]
        return said if self.messages else [self.text]


_AS_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode  # once, not for each row
_QUOTED = json.encoder.encode_basestring


def as_json(value: Any) -> str:
    """JSON text that UTF-8 can hold: broken halves of characters are replaced."""
    text = _AS_JSON(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def messages_json(messages: Messages) -> str:
    """The same text as `as_json` gives, in half the time for messages of nothing but words, which most are."""
    if any(len(message) != 2 for message in messages):
        return as_json(messages)
    words = (f'{{"role": "{m["role"]}", "content": {_QUOTED(m["content"])}}}' for m in messages)
    text = f"[{', '.join(words)}]"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def to_row(example: Example) -> dict[str, Any]:
    """The columns of `data.parquet` that hold an example."""
    return {
        "messages": messages_json(example.messages) if example.messages else None,
        "text": example.text if not example.messages else None,
        "tools": as_json(example.tools) if example.tools else None,
        "rejected": as_json(example.rejected) if example.rejected else None,
        "label": example.label,
    }


COLUMNS = ("messages", "text", "tools", "rejected", "label")


def from_row(row: Mapping[str, Any]) -> Example:
    """The example in a row of `data.parquet`; one of an older studio has `messages` alone."""
    messages, tools, rejected = (
        json.loads(row[name]) if row.get(name) else None for name in ("messages", "tools", "rejected")
    )
    return Example(messages or [], row.get("text") or "", tools, rejected, row.get("label"))
