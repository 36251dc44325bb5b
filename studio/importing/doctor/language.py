"""Which language an example is in, on an even sample: where nearly all are in one, the others are worth a look."""

import re
from collections import Counter
from functools import cache
from typing import Any

MOST = 3_000
MAIN_SHARE, OTHER_SHARE = 0.8, 0.01

_LEAST_LETTERS = 40
_READ = 240
_SURE = 0.95
_PROGRAM = re.compile(
    r"```|^\s*(?:def|class|import|from \S+ import|function|const|let|var|public|private|#include|SELECT|INSERT)\b"
    r"|^\s*CREATE\b|[;{}]\s*$|=>|</\w|\w\(.*\)\s*$|\\(?:begin|frac|sum)\b|\[\w+\]=|\w_\w+_\w",
    re.MULTILINE,
)
_SCRIPTS = (("ja", "\u3040", "\u30ff"), ("ko", "\uac00", "\ud7a3"), ("zh", "\u4e00", "\u9fff"))


class Languages:
    """An even sample of examples, and at the end those that are not in the language of nearly all."""

    def __init__(self) -> None:
        self._every = 1
        self._seen = 0
        self._sample: list[tuple[int, str, str]] = []

    def add(self, ordinal: int, asked: str, said: str) -> None:
        """One example; only an even share of all is kept."""
        if self._seen % self._every == 0:
            if len(self._sample) >= 2 * MOST:
                self._sample = self._sample[::2]
                self._every *= 2
            if self._seen % self._every == 0:
                self._sample.append((ordinal, asked[:_READ], said[:_READ]))
        self._seen += 1

    def strangers(self) -> tuple[list[int], dict[str, Any]]:
        """Ordinals of the examples in other languages, and the facts; ([], {}) where there is no mix."""
        found = [(ordinal, asked, code) for ordinal, asked, said in self._thinned() if (code := language_of(said))]
        counts = Counter(code for _, _, code in found)
        if not counts:
            return [], {}
        main, most = counts.most_common(1)[0]
        odd = {code for code, count in counts.items() if code != main and count >= OTHER_SHARE * len(found)}
        if most < MAIN_SHARE * len(found) or not odd:
            return [], {}
        # A question in the main language asks for the other one: a translation is no stranger.
        strange = [(n, code) for n, asked, code in found if code in odd and language_of(asked, 20) != main]
        kept = Counter(code for _, code in strange)
        kept = Counter({code: count for code, count in kept.items() if count >= OTHER_SHARE * len(found)})
        if not kept:
            return [], {}
        facts = {"languages": {main: most, **dict(kept.most_common())}, "looked_at": len(found)}
        return [n for n, code in strange if code in kept], facts

    def _thinned(self) -> list[tuple[int, str, str]]:
        return self._sample if len(self._sample) <= MOST else self._sample[::2]


def language_of(text: str, least: int = _LEAST_LETTERS) -> str:
    """The ISO 639-1 code of a text's language; empty where it is short, no prose, or not surely in one."""
    text = text[:_READ].strip()
    wide = _script_of(text)
    if wide:
        return wide
    if len(text) < least or text[:1] in "{[<" or _PROGRAM.search(text):
        return ""
    words = [word for word in text.split() if word.strip(".,;:!?\"'()«»“”„").isalpha()]
    letters = sum(map(len, words))
    if letters < 0.6 * least or letters < 0.6 * (len(text) - text.count(" ")) or len(words) < 4:
        return ""
    if sum(word[:1].isupper() for word in words) > 0.6 * len(words):  # names, titles, shouting
        return ""
    code, sure = _identifier().classify(" ".join(words))
    return str(code) if sure >= _SURE else ""


def _script_of(text: str) -> str:
    """Japanese, Korean or Chinese by the characters of a text, where half of it is written in them."""
    if text.isascii() or len(text) < 12:
        return ""
    shares = {code: sum(low <= c <= high for c in text) for code, low, high in _SCRIPTS}
    if sum(shares.values()) < 0.5 * len(text):
        return ""
    if shares["ja"] >= 0.1 * sum(shares.values()):
        return "ja"
    return "ko" if shares["ko"] > shares["zh"] else "zh"


@cache
def _identifier() -> Any:
    """The model, loaded once a process: 0.5 s and 100 MB."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
