"""One row of a file, whatever the file is, and what reads such rows."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from studio.core.containers import binary_kind
from studio.core.errors import Refused
from studio.core.formats import Unusable, clean, is_chat

RAW = 2_000
MOST_COLUMNS = 10_000


class Record(NamedTuple):
    """One row: its number from 1 (line in JSONL, item of an array, row after the header, paragraph) and its values.

    `fault` says why it can not be used as it is; then `mended` holds its values after a sensible mend (None where there
    is none) and `raw` how it stands in the file, 2,000 characters of it at most.
    """

    number: int
    values: dict[str, Any]
    fault: Unusable | None = None
    mended: dict[str, Any] | None = None
    raw: str = ""


class Reader(Protocol):
    """What reads the rows of one kind of file. `odd` says of columns that hold no text what they hold."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns' names."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should know, as sentences."""
        ...

    @property
    def odd(self) -> dict[str, str]:
        """Columns that hold no text, and what they hold."""
        ...

    @property
    def share(self) -> float:
        """How much has been read, 0 to 1."""
        ...

    def records(self) -> Iterator[Record]:
        """All rows in order, from the start at each call."""
        ...


def told_apart(header: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Columns' names, cleaned, nameless and equal ones told apart by their place; and warnings.

    Raises `Refused` where there are more than anyone could choose from.
    """
    if len(header) > MOST_COLUMNS:
        raise Refused(f"{name} has {len(header):,} columns.", "Check the delimiter and the quotes.", field="delimiter")
    named = [clean(cell)[0].strip() for cell in header]
    equal = dict.fromkeys(cell for cell in named if cell and named.count(cell) > 1)
    warnings = [f"{_count(named.count(cell))} columns are called {cell}." for cell in equal]
    taken = {cell for cell in named if cell not in equal}
    columns = []
    for place, cell in enumerate(named, 1):
        wanted = cell if cell and cell not in equal else f"{cell} (column {place})" if cell else f"column {place}"
        while wanted != cell and wanted in taken:
            wanted += "'"
        taken.add(wanted)
        columns.append(wanted)
    return columns, warnings


def _count(number: int) -> str:
    return "Two" if number == 2 else str(number)


def odd_columns(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Of columns whose values are lists, objects or bytes that no role takes: what they hold."""
    said: dict[str, set[str]] = {}
    for row in rows:
        for column, value in row.items():
            if value is not None and value != "":
                said.setdefault(column, set()).add(odd_words(value))
    return {column: "holds " + min(words) for column, words in said.items() if words and "" not in words}


def odd_words(value: Any) -> str:
    """What a value is that can be neither text nor a chat, tools or a history; empty where it can be."""
    if isinstance(value, bytes):
        return _bytes_words(value)
    if isinstance(value, dict):
        if isinstance(value.get("bytes"), bytes):
            return _bytes_words(value["bytes"])
        return "" if any(is_chat(inner) for inner in value.values()) else "objects"
    if not isinstance(value, list) or not value or is_chat(value):
        return ""
    inner = {odd_words(item) for item in value} & {"images", "sound", "binary data"}
    return min(inner) if inner else "" if _is_tools(value) or _is_history(value) else "lists"


def _bytes_words(value: bytes) -> str:
    kind = binary_kind(value[:4096])
    return "images" if "image" in kind else "sound" if "sound" in kind else "binary data"


def _is_tools(value: list[Any]) -> bool:
    return all(isinstance(item, dict) and ("function" in item or "name" in item) for item in value)


def _is_history(value: list[Any]) -> bool:
    return all(isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item)
               for item in value)  # fmt: skip
