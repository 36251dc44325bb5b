"""How the text of a file is encoded, and the text itself."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from charset_normalizer import from_bytes

from studio.core.containers import looks_utf16
from studio.core.errors import Refused

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_WORDS = {
    "utf-8": "UTF-8", "utf-8-sig": "UTF-8 with a mark", "utf-16": "UTF-16", "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16", "utf-32": "UTF-32", "cp1252": "Windows-1252", "iso8859-1": "Latin-1",
}  # fmt: skip
_CANDIDATES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]
_SAMPLE = 64 * 1024
_CHUNK = 1 << 20


@dataclass
class Text:
    """A file of text: its encoding by Python's name, and which of its lines is longer than allowed (0: none)."""

    path: Path
    encoding: str
    size: int
    long_line: int = 0
    warnings: list[str] = field(default_factory=list)
    _raw: io.BufferedReader | None = None

    @contextmanager
    def opened(self, newline: str | None) -> Iterator[io.TextIOWrapper]:
        """The text from its start; `newline` as `open` takes it. What can not be decoded reads as U+FFFD."""
        with self.path.open("rb") as raw:
            self._raw = raw
            with io.TextIOWrapper(raw, self.encoding, errors="replace", newline=newline) as text:
                yield text
            self._raw = None

    @property
    def share(self) -> float:
        """How much of it has been read, 0 to 1."""
        raw = self._raw
        return min(raw.tell() / self.size, 1.0) if raw and not raw.closed and self.size else 0.0

    def head(self, characters: int = _CHUNK) -> str:
        """How the text begins, line ends as "\\n"."""
        with self.opened(None) as text:
            return text.read(characters)

    def check_lines(self, name: str, limit: int) -> None:
        """Raises `Refused` where one line is longer than `limit` bytes."""
        if self.long_line:
            problem = f"Line {self.long_line:,} of {name} is longer than {size_words(limit)}."
            raise Refused(problem, "Split it, or check the line ends.")


def size_words(limit: int) -> str:
    """A limit in bytes for a sentence: "50 MB"."""
    millions = limit / (2**20 if limit % 2**20 == 0 else 10**6)
    if millions >= 1000:
        return f"{millions / 1000:,.1f} GB".replace(".0 ", " ")
    return f"{millions:,.0f} MB" if millions >= 1 else f"{limit:,} bytes"


def encoding_words(encoding: str) -> str:
    """The encoding as a person knows it."""
    return _WORDS.get(encoding, encoding.upper().replace("_", "-"))


def survey(path: Path, line_bytes: int, wish: str = "") -> Text:
    """Walk through the file once: its encoding (a person's `wish` goes first) and its longest line.

    Raises `Refused` for an empty file and for an encoding that is none.
    """
    with path.open("rb") as source:
        head = source.read(_SAMPLE)
    if not head.strip(b" \t\r\n\x00\xef\xbb\xbf\xff\xfe"):
        raise Refused("This file is empty.", "Choose a file with rows.")
    marked = next((encoding for mark, encoding in _BOMS if head.startswith(mark)), "")
    known = _known(wish) if wish else marked or looks_utf16(head)
    walk = _Walk(line_bytes, decode=not known)
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            walk.take(chunk)
    text = Text(path, known or "utf-8", path.stat().st_size, walk.long_line)
    if walk.sample:
        text.encoding = _likeliest(walk.sample)
        if text.encoding == "utf-8":
            text.warnings.append("Some characters are not UTF-8; they are shown as \ufffd.")
    return text


def _known(wish: str) -> str:
    """Python's name of the encoding a person asks for. Raises `Refused`."""
    try:
        codec = codecs.lookup(wish.strip())
        "".encode(codec.name)  # codecs that are no encodings of text refuse
    except (LookupError, ValueError, TypeError):
        raise Refused("There is no such encoding.", "Choose UTF-8 or Windows-1252.", field="encoding") from None
    return codec.name


class _Walk:
    """Bytes in order: where UTF-8 ends to be UTF-8, and which line is too long."""

    def __init__(self, line_bytes: int, decode: bool) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")() if decode else None
        self._limit, self._gap, self._lines, self._before = line_bytes, 0, 0, b""
        self.long_line, self.sample = 0, b""

    def take(self, chunk: bytes) -> None:
        """The next bytes."""
        if not self.long_line:
            self._measure(chunk)
        if self._decoder is not None:
            self._check(self._decoder, chunk)

    def _measure(self, chunk: bytes) -> None:
        end = b"\n" if b"\n" in chunk else b"\r"
        first = chunk.find(end)
        if self._gap + (first if first >= 0 else len(chunk)) > self._limit:
            self.long_line = self._lines + 1
        self._gap = self._gap + len(chunk) if first < 0 else len(chunk) - chunk.rfind(end) - 1
        self._lines += chunk.count(end)

    def _check(self, decoder: codecs.IncrementalDecoder, chunk: bytes) -> None:
        try:
            if not (chunk.isascii() and not decoder.getstate()[0]):
                decoder.decode(chunk)
        except UnicodeDecodeError as error:
            around, bad = self._before + chunk, len(self._before) + error.start
            self.sample = around[max(bad - 2000, 0) : bad + _SAMPLE]
            self._decoder = None
        self._before = chunk[-2000:]


def _likeliest(sample: bytes) -> str:
    """What charset-normalizer finds, and Windows-1252 where it finds that no worse (short texts look like many).

    UTF-8 where most of what is beyond ASCII is: a byte or two were damaged.
    """
    read = sample.decode("utf-8", "replace")
    broken = read.count("\ufffd")
    if sum(character > "\x7f" for character in read) - broken > 4 * broken:
        return "utf-8"
    best = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    # Equal readings count as one match there, under the name that was tried first.
    return "cp1252" if best is None or str(best) == sample.decode("cp1252", "replace") else best.encoding
