"""JSON files that are no JSONL: a list of rows, an object that holds one, or objects one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from studio.core.errors import Refused
from studio.core.formats import is_chat, shown_name
from studio.importing.files.charset import Text
from studio.importing.files.lines import Json
from studio.importing.files.record import Record
from studio.importing.files.scan import UNPARSED, USUAL, Window, cut, no_list


@dataclass(frozen=True)
class _Shape:
    """Where the rows stand: in the list under `key`, in the outermost list (None), or side by side (`loose`)."""

    key: str | None = None
    loose: bool = False


class Arrays(Json):
    """Reads the rows of a JSON file."""

    def __init__(self, text: Text, name: str, limit: int, levels: int) -> None:
        """Raises `Refused` where there is no list of rows or more than one, where it is cut or nested too deep."""
        super().__init__(text, name, levels)
        self._name, self._limit, self._levels = name, limit, levels
        self._shape = self._found()
        self._items.probe(self.records())

    def _window(self, stream: TextIO) -> Window:
        return Window(stream, self._name, self._limit, self._levels)

    def _found(self) -> _Shape:
        with self._text.opened(None) as stream:
            window = self._window(stream)
            if window.peek() == "[":
                return _Shape()
            window.step()
            lists, chat = _lists(window)
            if chat or window.peek() == "{":
                return _Shape(loose=True)
        usual = [name for name in lists if name.lower() in USUAL]
        if len(lists) == 1 or usual:
            return _Shape(usual[0] if usual else lists[0])
        if lists:
            names = ", ".join(shown_name(name) for name in lists[:10])
            raise Refused(f"{self._name} holds several lists of rows: {names}.", "Save each as a file of its own.")
        raise no_list(self._name)

    def records(self) -> Iterator[Record]:
        """All rows in order. Raises `Refused` where the list is cut, or nested too deep."""
        self._items.renew()
        with self._text.opened(None) as stream:
            window = self._window(stream)
            values = _loose(window) if self._shape.loose else self._listed(window)
            number = 0
            for number, (value, text) in enumerate(values, 1):
                if window.cut:
                    raise cut(self._name, number)
                parsed = value is not UNPARSED
                yield self._items.made(number, value, text) if parsed else self._items.parsed(number, text)
            if window.cut:
                raise cut(self._name, number + 1)

    def _listed(self, window: Window) -> Iterator[tuple[Any, str]]:
        window.peek()
        window.step()
        if self._shape.key is not None:
            window.enter(self._shape.key)
        yield from window.items()


def _lists(window: Window) -> tuple[list[str], bool]:
    """The names in an object under which lists of objects stand, and whether one is a chat, the object so a row.

    The walk ends early at a usual name.
    """
    lists: list[str] = []
    chat = False
    while (key := window.key()) is not None:
        if window.peek() == "[":
            window.step()
            first = None
            for value, _ in window.items():
                first = value if first is None else first
                if key.lower() in USUAL and first is not None and not is_chat([first]):
                    return [key], False
            if isinstance(first, dict) or first is UNPARSED:
                chat = chat or is_chat([first])
                lists.append(key)
            if window.peek() == ",":
                window.step()
        else:
            window.skip()
    if window.peek() == "}":
        window.step()
    return ([] if chat and len(lists) == 1 else lists), chat and len(lists) <= 1


def _loose(window: Window) -> Iterator[tuple[Any, str]]:
    """Objects one after the other, with nothing or commas between."""
    while (mark := window.peek()) != "":
        if mark == "{":
            yield window.value(loose=True)
        else:
            window.step()
