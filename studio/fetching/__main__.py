"""`python -m studio.fetching`: asked as `studio.core.child` says.

The token of a person comes in the request and lives in this process alone. Its progress, a few times a second, is also
what tells a parent that wants to stop.
"""

import json
import os
import resource
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from studio.core.child import Channel
from studio.core.errors import StudioError, Unavailable

_BEAT_S = 0.2
_MEMORY = 1 << 30


class Beating(Channel):
    """Says how far the work is a few times a second, whatever it does. A parent that is gone ends this process."""

    def __init__(self) -> None:
        """It beats from now on."""
        super().__init__()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._state: tuple[float, str] = 0.0, "Asking the Hub"
        threading.Thread(target=self._beat, daemon=True).start()

    def progress(self, share: float, words: str) -> None:
        """How far the work is; the next beat says it."""
        self._state = share, words

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S):
            self.say_progress(*self._state)

    def say(self, line: Mapping[str, Any]) -> None:
        """One line out; after the last one there are no beats."""
        if "progress" not in line:
            self._ended.set()
        with self._lock:
            try:
                super().say(line)
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


def _answer(request: dict[str, Any], channel: Beating) -> dict[str, Any]:
    if request["do"] in ("model", "weights"):
        from studio.fetching import hub_model

        return hub_model.answer(request, channel.progress)
    from studio.fetching.hub_files import HubFiles

    return HubFiles(request, channel.progress).answer()


def main() -> None:
    """Read the request, take the limits, answer."""
    channel = Beating()
    request = json.loads(sys.stdin.buffer.read())
    _limit(int(request["file_bytes"]))
    try:
        channel.say({"result": _answer(request, channel)})
    except StudioError as error:
        channel.fail(error)
    except MemoryError:
        channel.fail(Unavailable("The Hub's answer is larger than the studio takes.", "Choose another one."))
    except Exception as error:
        # The message may hold a token, so only the kind and the places are told.
        sys.stderr.write(type(error).__name__ + "\n" + "".join(traceback.format_tb(error.__traceback__)))
        sys.exit(1)


if __name__ == "__main__":
    main()
