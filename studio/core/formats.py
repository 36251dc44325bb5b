"""What a file is and what its columns mean. Pure: bytes and values in, decisions out.

A mapping is `{"prompt": column, "completion": column, "system": column or ""}` or `{"messages": column}`.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.errors import Refused

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"GIF8", "an image (GIF)"),
    (b"II*\x00", "an image (TIFF)"),
    (b"MM\x00*", "an image (TIFF)"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3", "a SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x7fELF", "a program"),
    (b"ID3", "a sound file (MP3)"),
    (b"OggS", "a sound file (Ogg)"),
)
_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")
_DELIMITERS = ",;\t|"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ROLES = {
    "user": "user", "human": "user", "prompter": "user", "assistant": "assistant", "gpt": "assistant",
    "bot": "assistant", "model": "assistant", "chatgpt": "assistant", "system": "system", "developer": "system",
    "tool": "tool", "function": "tool",
}  # fmt: skip
_CARRIED = ("name", "tool_call_id", "reasoning_content", "thinking")
_USUAL: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation", "chat", "dialog", "dialogue", "turns"),
    "completion": (
        "completion", "answer", "output", "response", "assistant", "reply", "target", "learnt", "label", "solution",
        "gpt", "bot", "expected", "json",
    ),
    "prompt": (
        "prompt", "question", "instruction", "input", "query", "user", "ask", "asked", "human", "request", "spoken",
        "source", "problem", "text",
    ),
    "system": ("system",),
}  # fmt: skip
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(
        ("eval", "evaluation", "test", "testing", "validation", "valid", "val", "dev", "heldout"), "eval"
    ),
}  # fmt: skip

Mapped = Mapping[str, str]


class Unusable(Exception):
    """A row that can not be an example. `kind` groups equal reasons; `words` go on after "Row 12"."""

    def __init__(self, kind: str, words: str) -> None:
        """`words` begins with a verb: "has no text in answer"."""
        super().__init__(words)
        self.kind = kind
        self.words = words


@dataclass(frozen=True)
class Guess:
    """What the columns seem to mean. `certain` is False where a person should look; `unused` are left out."""

    mapping: dict[str, str]
    certain: bool
    unused: list[str]


def binary_kind(head: bytes) -> str:
    """What a file that is no text is ("an image (PNG)"), by its first bytes; empty for text."""
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head.startswith(b"RIFF"):
        return {b"WEBP": "an image (WebP)", b"WAVE": "a sound file (WAV)"}.get(head[8:12], "a media file")
    if head[4:8] == b"ftyp":
        return "a video or sound file (MP4)"
    if head.startswith(b"PK\x03\x04"):
        return "an Excel workbook" if b"xl/" in head else "a zip archive"
    if head.startswith(_BOMS) or looks_utf16(head):
        return ""
    odd = len(_CONTROL.findall(head.decode("latin-1")))
    return "a binary file" if odd > 0.02 * len(head) + 2 else ""


def looks_utf16(head: bytes) -> str:
    """`utf-16-le` or `utf-16-be` where text without a mark has every other byte zero; else empty."""
    half = len(head) // 2
    if half < 4:
        return ""
    odd, even = head[1::2].count(0), head[0::2].count(0)
    if odd > 0.6 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.1 * half else ""


def container(head: str, name: str) -> str:
    """`jsonl`, `json` or `csv` by how the text begins; the file's name only decides what is open."""
    text, ending = head.lstrip(), name.lower().rpartition(".")[2]
    lines = [line.strip() for line in text.split("\n", 3) if line.strip()]
    if ending in ("jsonl", "ndjson"):
        whole = text.startswith("[") and not lines[0].endswith("]")  # an array under the wrong name
        return "json" if whole or lines[:1] == ["["] else "jsonl"
    if not text.startswith(("{", "[")) or (ending in ("csv", "tsv") and not _opens_json(lines[0])):
        return "csv"
    several = len(lines) > 1 and lines[1].startswith(text[0])
    if text[0] == "[":
        return "jsonl" if several and lines[0].endswith("]") else "json"
    return "jsonl" if (several and lines[0].endswith("}")) or (ending != "json" and lines[0].endswith("}")) else "json"


def _opens_json(line: str) -> bool:
    return re.match(r'\{\s*("|$)|\[\s*(\{|\[|"|$)', line) is not None


def delimiter(head: str) -> str:
    """The delimiter whose rows agree best with the header on the most columns; a comma where none parts anything."""
    best, found = (0.0, 0), ","
    for mark in _DELIMITERS:
        rows = [row for row in csv.reader(head.splitlines()[:50], delimiter=mark) if row]
        width = len(rows[0]) if rows else 1
        if width > 1:
            score = (sum(len(row) == width for row in rows) / len(rows), width)
            best, found = (score, mark) if score > best else (best, found)
    return found


def clean(text: str) -> tuple[str, int]:
    """`text` without control characters and broken halves of characters, and how many there were."""
    if text.isprintable():
        return text, 0
    text, controls = _CONTROL.subn("", text)
    text, halves = _SURROGATE.subn("\ufffd", text)
    return text, controls + halves


def as_text(value: Any, column: str) -> str:
    """A cell as text: numbers as they were written. Raises `Unusable` for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise Unusable(f"nested:{column}", f"holds {'an object' if isinstance(value, dict) else 'a list'} in {column}")
    return str(value).lower() if isinstance(value, bool) else str(value)


def shown_name(name: str) -> str:
    """A file's name fit for a sentence: one line, no control characters, not longer than 80 characters."""
    text = "".join(character if character.isprintable() else " " for character in name).strip() or "The file"
    return text if len(text) <= 80 else text[:79] + "…"


def shown(value: Any, limit: int = 300) -> str:
    """Any value as a short clean text for a table of samples."""
    nested = isinstance(value, dict | list)
    text = clean(json.dumps(value, ensure_ascii=False) if nested else as_text(value, ""))[0]
    return text if len(text) <= limit else text[: limit - 1] + "…"


def split_of(value: Any) -> str | None:
    """`train` or `eval` for a cell of a column called `split`; None where it says neither."""
    return _SPLITS.get(re.sub(r"[^a-z]", "", value.lower())) if isinstance(value, str) else None


def split_column(columns: Sequence[str]) -> str | None:
    """The column that says which part a row belongs to."""
    return next((column for column in columns if column.strip().lower() == "split"), None)


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Guess:
    """What the columns mean, by their usual names and by what stands in the first rows."""
    rest = [column for column in columns if column != split_column(columns)]
    chats = [column for column in rest if any(is_chat(row.get(column)) for row in rows)]
    if chats:
        chosen = _named(chats, chats, "messages") or chats[0]
        return Guess({"messages": chosen}, True, [column for column in rest if column != chosen])
    texts = [column for column in rest if any(_is_words(row.get(column)) for row in rows)] or rest
    system = _named(rest, texts, "system")
    rest_, texts = ([column for column in some if column != system] for some in (rest, texts))
    learnt = _named(rest_, texts, "completion")
    rest_, texts = ([column for column in some if column != learnt] for some in (rest_, texts))
    asked = _named(rest_, texts, "prompt")
    certain = bool(asked and learnt) and not {"instruction", "input"} <= {column.lower() for column in rest}
    asked = asked or next(iter([*texts, *rest_]), "")
    learnt = learnt or next((column for column in [*texts, *rest_] if column != asked), "")
    mapping = {"prompt": asked, "completion": learnt, "system": system}
    return Guess(mapping, certain, [column for column in rest if column not in mapping.values()])


def _named(columns: Sequence[str], texts: Sequence[str], role: str) -> str:
    """The column with the most usual name for `role`: first the whole name, then a word in the name of a text."""
    for usual in _USUAL[role]:
        for column in columns:
            if column.strip().lower() == usual:
                return column
    words = {column: re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower()) for column in texts}
    return next((column for usual in _USUAL[role] for column in texts if usual in words[column]), "")


def is_chat(value: Any) -> bool:
    """Whether a value is a list of messages."""
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and ("role" in m or "from" in m)
                                                           for m in value)  # fmt: skip


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not re.fullmatch(r"[-+\d.,%€$: ]+", value)


def check_mapping(mapping: Mapped, columns: Sequence[str]) -> dict[str, str]:
    """`mapping` without empty parts. Raises `Refused` where a column is missing, unknown or used twice."""
    chosen = {role: column for role, column in mapping.items() if column}
    for role, column in chosen.items():
        _check_column(role, column, columns)
    if "messages" in chosen:
        return {"messages": chosen["messages"]}
    for role, words in (("prompt", "asked"), ("completion", "learnt")):
        if role not in chosen:
            raise Refused(f"No column is chosen as what is {words}.", "Choose one.", field=role)
    if len(set(chosen.values())) < len(chosen):
        raise Refused("One column is chosen twice.", "Choose another column for one of the two.", field="completion")
    return chosen


def _check_column(role: str, column: str, columns: Sequence[str]) -> None:
    if role not in _USUAL:
        raise Refused(f"A column can not be used as {role!r}.", "Map prompt and completion, or messages.")
    if column not in columns:
        names = ", ".join(columns[:30]) + (", …" if len(columns) > 30 else "")
        problem = f"There is no column called {column!r}. The file has: {names}."
        raise Refused(problem, "Choose one of them.", field=role)


def to_messages(values: Mapping[str, Any], mapping: Mapped) -> list[dict[str, Any]]:
    """One row as messages. Raises `Unusable` with the reason where it can not be an example."""
    if "messages" in mapping:
        return _chat(values.get(mapping["messages"]), mapping["messages"])
    messages = []
    for role, part in (("system", "system"), ("user", "prompt"), ("assistant", "completion")):
        column = mapping.get(part, "")
        text = as_text(values.get(column), column) if column else ""
        if text.strip():
            messages.append({"role": role, "content": text})
        elif role != "system":
            raise Unusable(f"empty:{column}", f"has no text in {column}")
    return messages


def _chat(value: Any, column: str) -> list[dict[str, Any]]:
    if not value:
        raise Unusable(f"empty:{column}", f"has no messages in {column}")
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise Unusable(f"shape:{column}", f"holds no list of messages in {column}")
    messages = [_message(message) for message in value]
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        raise Unusable("no answer", "has no answer of an assistant")
    if all(message.get("weight") == 0 for message in answers):
        raise Unusable("weight", "has only answers of weight 0")
    return messages


def _message(raw: Mapping[str, Any]) -> dict[str, Any]:
    said = str(raw.get("role", raw.get("from", "")))
    role = _ROLES.get(said.strip().lower())
    if role is None:
        raise Unusable("role", f"has the unknown role {said[:40]!r}" if said else "has a message without a role")
    content = _content(raw.get("content", raw.get("value")))
    message: dict[str, Any] = {"role": role, "content": content}
    message.update({key: raw[key] for key in _CARRIED if isinstance(raw.get(key), str)})
    if raw.get("tool_calls"):
        message["tool_calls"] = raw["tool_calls"]
    elif role == "assistant" and not content.strip():
        raise Unusable("empty turn", "has an empty turn of the assistant")
    weight = raw.get("weight")
    if weight is not None:
        if weight not in (0, 1):
            raise Unusable("weight value", f"has the weight {str(weight)[:20]}; only 0 and 1 are known")
        message["weight"] = int(weight)
    return message


def _content(value: Any) -> str:
    """A message's text; a list of text parts is joined. Pictures and the like are refused."""
    if not isinstance(value, list):
        return as_text(value, "a message")
    parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part for part in value]
    if not all(isinstance(part, str) for part in parts):
        raise Unusable("parts", "has a message that is not text")
    return "".join(str(part) for part in parts)
