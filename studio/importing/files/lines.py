"""JSON as rows: the lines of JSONL, and what an item of any JSON file is as a row."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from studio.core.formats import Unusable, clean, is_chat
from studio.importing.files.charset import Text
from studio.importing.files.json_text import decode, deep, too_deep
from studio.importing.files.mends import mend_json
from studio.importing.files.record import MOST_COLUMNS, RAW, Record, odd_columns

_PROBED = 200
# Mending is slow: of a file that is broken all over, the first 20 million characters are enough.
_MENDED = 20_000_000
_BRACES = "[]{}"


class Items:
    """JSON values as records; `columns` grows with the names that are met."""

    def __init__(self, name: str, levels: int) -> None:
        """`name` is the file's, for the sentences."""
        self._name, self._levels = name, levels
        self._known: set[str] = set()
        self._left = _MENDED
        self._met: list[str] = []
        self._mended: dict[str, None] = {}
        self.odd: dict[str, str] = {}

    @property
    def columns(self) -> list[str]:
        """The names met so far; where all rows are broken, those of the first that can be mended."""
        return self._met or list(self._mended)

    def probe(self, records: Iterator[Record]) -> None:
        """Learn the columns, and which hold no text, from the first records."""
        self.odd = odd_columns([record.values for record in islice(records, _PROBED)])

    def renew(self) -> None:
        """Before each reading: the same broken rows are mended at each."""
        self._left = _MENDED

    def parsed(self, number: int, text: str) -> Record:
        """One item by its text. Raises `Refused` where it is nested too deep (a line of JSONL has its number)."""
        if too_deep(text, self._levels):
            raise deep(self._name, self._levels, number)
        try:
            value = decode(text)
        except (ValueError, RecursionError):
            return self._broken(number, text)
        return self.made(number, value, text)

    def made(self, number: int, value: Any, text: str = "") -> Record:
        """One item by its value."""
        values = value if type(value) is dict else _named(value)
        if values is None:
            return Record(number, {}, Unusable("no object", "holds no named values"), None, text[:RAW].strip())
        return Record(number, values if values.keys() <= self._known else self._learn(values))

    def _learn(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values under clean names, which are from now on known."""
        values = _cleaned(values)
        new = [key for key in values if key not in self._known]
        if len(self._known) + len(new) <= MOST_COLUMNS:
            self._known.update(new)
            self._met += new
        return values

    def _broken(self, number: int, text: str) -> Record:
        mended, self._left = None, self._left - len(text)
        if self._left > 0 and text.strip() not in _BRACES:
            try:
                value = mend_json(text, self._levels)
            except ValueError:
                value = None
            mended = value if isinstance(value, dict) else _named(value)
        if mended is not None:
            mended = _cleaned(mended)
            self._mended.update(dict.fromkeys(list(mended)[:MOST_COLUMNS]) if not self._mended else {})
        return Record(number, {}, Unusable("not json", "is not JSON"), mended, text[:RAW].strip())


def _cleaned(values: dict[str, Any]) -> dict[str, Any]:
    return {key if key.isprintable() else clean(key)[0]: value for key, value in values.items()}


def _named(value: Any) -> dict[str, Any] | None:
    """A chat or a text that has no name, under the usual one."""
    if is_chat(value):
        return {"messages": value}
    return {"text": value} if isinstance(value, str) and value else None


class Json:
    """What all readers of JSON have: a text, and what its items are as rows."""

    def __init__(self, text: Text, name: str, levels: int) -> None:
        """`levels` is how deep the text may be nested."""
        self._text, self._items = text, Items(name, levels)
        self.warnings = list(text.warnings)

    @property
    def columns(self) -> list[str]:
        """The names met so far."""
        return self._items.columns

    @property
    def odd(self) -> dict[str, str]:
        """Columns that hold no text, and what they hold."""
        return self._items.odd

    @property
    def share(self) -> float:
        """How much has been read, 0 to 1."""
        return self._text.share


class Lines(Json):
    """Reads JSONL: a value a line. Blank lines count as lines and are not read."""

    def __init__(self, text: Text, name: str, limit: int, levels: int) -> None:
        """`limit`: the longest line, in bytes. Raises `Refused` where one is longer or nested too deep."""
        text.check_lines(name, limit)
        super().__init__(text, name, levels)
        self._items.probe(self.records())

    def records(self) -> Iterator[Record]:
        """All lines in order. Raises `Refused` where one is nested too deep."""
        items = self._items
        items.renew()
        with self._text.opened(None) as text:
            for number, line in enumerate(text, 1):
                if not line.isspace():
                    yield items.parsed(number, line)
