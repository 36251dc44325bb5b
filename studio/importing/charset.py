"""How the text of a file is encoded."""

import codecs
from pathlib import Path

from charset_normalizer import from_bytes

from studio.core.errors import Refused
from studio.core.formats import binary_kind, looks_utf16

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_WORDS = {
    "utf-8": "UTF-8", "utf-8-sig": "UTF-8 with a mark", "utf-16": "UTF-16", "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16", "utf-32": "UTF-32", "cp1252": "Windows-1252",
}  # fmt: skip
_CANDIDATES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"]
_SAMPLE = 64 * 1024


def find_encoding(path: Path, name: str) -> str:
    """Python's name of the file's encoding. Raises `Refused` for empty files and for what is no text."""
    with path.open("rb") as source:
        head = source.read(_SAMPLE)
    if not head.strip(b" \t\r\n\x00\xef\xbb\xbf\xff\xfe"):
        raise Refused("This file is empty.", "Choose a file with rows.")
    kind = binary_kind(head)
    if kind:
        remedy = "Choose a JSONL, JSON or CSV file."
        raise Refused(f"{name} is {kind}, not a table.", f"{remedy[:-1]}, or save it as one." if "file" in kind
                      or "workbook" in kind or "archive" in kind else remedy)  # fmt: skip
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    return looks_utf16(head) or _by_content(path)


def encoding_words(encoding: str) -> str:
    """The encoding as a person knows it."""
    return _WORDS.get(encoding, encoding.upper().replace("_", "-"))


def _by_content(path: Path) -> str:
    """UTF-8 where all of it is; else the likeliest old encoding by the text around the first byte that is not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = b""
    with path.open("rb") as source:
        while chunk := source.read(1 << 20):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                bad = max(error.start, 0)
                return _likeliest((before + chunk)[max(len(before) + bad - 2000, 0) : len(before) + bad + _SAMPLE])
            before = chunk[-2000:]
    return "utf-8"


def _likeliest(sample: bytes) -> str:
    """What charset-normalizer finds, and Windows-1252 where it finds that no worse (short texts look like many)."""
    best = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    # Equal readings count as one match there, under the name that was tried first.
    return "cp1252" if best is None or str(best) == sample.decode("cp1252", "replace") else best.encoding
