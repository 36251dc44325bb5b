"""Text without columns: each paragraph an example, or the whole file one."""

from collections.abc import Iterator

from studio.core.errors import Refused
from studio.importing.files.charset import Text, size_words
from studio.importing.files.record import Record

COLUMN = "text"


class Prose:
    """Reads the paragraphs of a text: what stands between blank lines. With `whole` the file is one of them."""

    def __init__(self, text: Text, name: str, limit: int, whole: bool) -> None:
        """`limit`: the longest paragraph, in bytes."""
        text.check_lines(name, limit)
        self._text, self._name, self._limit, self._whole = text, name, limit, whole
        self.columns, self.warnings, self.odd = [COLUMN], list(text.warnings), dict[str, str]()

    @property
    def share(self) -> float:
        """How much has been read, 0 to 1."""
        return self._text.share

    def records(self) -> Iterator[Record]:
        """All paragraphs in order. Raises `Refused` where one is longer than the limit."""
        for number, lines in enumerate(self._paragraphs(), 1):
            yield Record(number, {COLUMN: "".join(lines).strip("\n")})

    def _paragraphs(self) -> Iterator[list[str]]:
        lines: list[str] = []
        size = 0
        with self._text.opened(None) as text:
            for line in text:
                if not self._whole and line.isspace():
                    if lines:
                        yield lines
                    lines, size = [], 0
                    continue
                lines.append(line)
                size += len(line)
                if size > self._limit:
                    raise Refused(f"A text in {self._name} is longer than {size_words(self._limit)}.",
                                  "Part it with blank lines, or into files.")  # fmt: skip
        if any(not line.isspace() for line in lines):
            yield lines
