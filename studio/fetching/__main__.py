"""`python -m studio.fetching`: one JSON request on standard input, JSON lines out, as `studio.importing` speaks.

The token of a person comes in the request and lives in this process alone. Lines: `{"progress", "words"}` a few times
a second, which also tell a parent that wants to stop, then `{"result"}` or `{"error"}`.
"""

import json
import os
import resource
import sys
import threading
import traceback
from typing import Any, TextIO

from studio.core.errors import StudioError, Unavailable

_BEAT_S = 0.2
_MEMORY = 1 << 30


class Channel:
    """Standard output, kept for our lines alone. A parent that is gone ends this process."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="ascii")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._state: tuple[float, str] = 0.0, "Asking the Hub"
        threading.Thread(target=self._beat, daemon=True).start()

    def progress(self, share: float, words: str) -> None:
        """How far the work is; the next beat says it."""
        self._state = share, words

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S):
            share, words = self._state
            self._say({"progress": round(share, 4), "words": words})

    def last(self, line: dict[str, Any]) -> None:
        """The last line out."""
        self._ended.set()
        self._say(line)

    def _say(self, line: dict[str, Any]) -> None:
        with self._lock:
            try:
                self._out.write(json.dumps(line) + "\n")
                self._out.flush()
            except BrokenPipeError:
                os._exit(1)


def _limit(file_bytes: int) -> None:
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, file_bytes),
    ):
        ceiling = resource.getrlimit(what)[1]
        most = most if ceiling == resource.RLIM_INFINITY else min(most, ceiling)
        resource.setrlimit(what, (most, most))


def _answer(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    from studio.fetching.hub_files import HubFiles

    return HubFiles(request, channel.progress).answer()


def main() -> None:
    """Read the request, take the limits, answer."""
    channel = Channel()
    request = json.loads(sys.stdin.buffer.read())
    _limit(int(request["file_bytes"]))
    try:
        channel.last({"result": _answer(request, channel)})
    except StudioError as error:
        channel.last({"error": {"problem": error.problem, "remedy": error.remedy, "field": error.field,
                                "status": error.status, "reason": getattr(error, "reason", "")}})  # fmt: skip
    except MemoryError:
        much = Unavailable("The Hub's answer is larger than the studio takes.", "Choose another dataset.")
        channel.last({"error": {"problem": much.problem, "remedy": much.remedy, "status": much.status}})
    except Exception as error:
        # The message may hold a token, so only the kind and the places are told.
        sys.stderr.write(type(error).__name__ + "\n" + "".join(traceback.format_tb(error.__traceback__)))
        sys.exit(1)


if __name__ == "__main__":
    main()
