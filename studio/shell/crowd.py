"""How many uploads one person may have under way at once: the rest waits with a 429, and nobody else does."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Scope

MOST_AT_ONCE = 8
UPLOAD = "/gradio_api/upload"


class Crowd:
    """Uploads under way, by the address that they come from (people have no logins yet)."""

    def __init__(self) -> None:
        """Nobody is here."""
        self._here: Counter[str] = Counter()

    @contextmanager
    def seat(self, scope: Scope) -> Iterator[bool]:
        """While open, the request counts; False where its sender has too many. Other requests are not counted."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != UPLOAD or scope["method"] != "POST":
            yield True
            return
        who = (scope.get("client") or ("",))[0]
        if self._here[who] >= MOST_AT_ONCE:
            yield False
            return
        self._here[who] += 1
        try:
            yield True
        finally:
            self._here[who] -= 1
            self._here += Counter()  # forgets those who have none left
