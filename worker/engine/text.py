"""Tokens to text as they come: never half a character, never a piece of a stop string."""

from collections.abc import Callable, Sequence

from studio.core.calls import begun

BROKEN = "\ufffd"


class TextStream:
    """Joins tokens to text: together the pieces are what decoding all at once gives, cut before a stop string."""

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str] = ()) -> None:
        """`decode` gives the text of some ids, without special tokens; `stops` are the strings that end the answer."""
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._start = 0
        self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is now certain; sets `stopped` when a stop string is complete."""
        self._ids.append(token)
        return self._release(self._fresh())

    def finish(self) -> str:
        """What was held back."""
        if self.stopped:
            return ""
        rest = self._release(self._fresh(whole=True)) + self._held
        self._held = ""
        return rest

    def _fresh(self, whole: bool = False) -> str:
        """The text of the tokens not yet read; empty while their last character is not whole.

        A token is decoded together with the ones before it, as some tokenizers treat the first of a text otherwise.
        """
        before = self._decode(self._ids[self._start : self._read])
        after = self._decode(self._ids[self._start :])
        if after.endswith(BROKEN) and not whole:
            return ""
        self._start, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def _release(self, fresh: str) -> str:
        if self.stopped:
            return ""
        text = self._held + fresh
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        hold = max((begun(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]
