"""`python -m studio.importing`: one JSON request on standard input, JSON lines out, limits first.

Lines: `{"progress": 0..1, "words": ""}` any number of times, then `{"result": {...}}` or
`{"error": {"problem", "remedy", "field", "status"}}`.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from studio.core.errors import Refused, StudioError
from studio.core.formats import shown_name
from studio.importing.limits import set_limits

_GIB = 1024**3
_BETWEEN_LINES_S = 0.2


class Channel:
    """Standard output, kept for our lines alone: what a library prints there goes nowhere."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="ascii")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        self._last = 0.0

    def progress(self, share: float, words: str) -> None:
        """Say how far the work is, a few times a second at most."""
        now = time.monotonic()
        if now - self._last >= _BETWEEN_LINES_S:
            self._last = now
            self.say({"progress": round(share, 4), "words": words})

    def say(self, line: dict[str, Any]) -> None:
        """One line out."""
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()


def answer(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """Do what is asked. Heavy libraries are loaded here, under the limits. Raises `StudioError`."""
    what = request["do"]
    if what in ("inspect", "import"):
        from studio.importing import canonical

        path, name = Path(request["source"]), shown_name(request["name"])
        if what == "inspect":
            return canonical.look(path, name)
        return canonical.bring_in(path, name, request["mapping"], Path(request["out"]), channel.progress)
    from studio.importing import chats

    data, model, longest = Path(request["data"]), Path(request["model"]), request.get("max_length")
    if what == "preview":
        return chats.preview(data, model, int(request.get("index", 0)), longest)
    split = float(request.get("eval_share", 0)), int(request.get("seed", 0))
    return chats.count(data, model, longest, split, channel.progress)


def main() -> None:
    """Read the request, take the limits, answer."""
    channel = Channel()
    request = json.loads(sys.stdin.buffer.read())
    limits = request.get("limits", {})
    memory = int(limits.get("memory_bytes", 2 * _GIB))
    set_limits(memory, int(limits.get("cpu_seconds", 60)), int(limits.get("file_bytes", _GIB)))
    try:
        channel.say({"result": answer(request, channel)})
    except StudioError as error:
        channel.say({"error": _error(error)})
    except MemoryError:
        needs = Refused(
            f"{shown_name(request.get('name', 'This'))} needs more than {memory / _GIB:.1f} GiB to read.",
            "Split it into smaller files.",
        )
        channel.say({"error": _error(needs)})
    except Exception as error:
        # The message may hold a person's rows, so only the kind and the places are told.
        sys.stderr.write(type(error).__name__ + "\n" + "".join(traceback.format_tb(error.__traceback__)))
        sys.exit(1)


def _error(error: StudioError) -> dict[str, Any]:
    return {"problem": error.problem, "remedy": error.remedy, "field": error.field, "status": error.status}


if __name__ == "__main__":
    main()
