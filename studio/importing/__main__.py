"""`python -m studio.importing`: one JSON request on standard input, JSON lines out, limits first.

Lines: `{"progress": 0..1, "words": ""}` any number of times, then `{"result": {...}}` or
`{"error": {"problem", "remedy", "field", "status"}}`.
"""

import gc
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from studio.core.errors import Refused, StudioError
from studio.core.formats import shown_name
from studio.importing.limits import Limits, forbid_network, set_limits

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


def answer(request: dict[str, Any], channel: Channel, limits: Limits) -> dict[str, Any]:
    """Do what is asked. Heavy libraries are loaded here, under the limits. Raises `StudioError`."""
    what = request["do"]
    if what in ("inspect", "import"):
        from studio.importing import canonical

        scratch = Path(request["scratch"])
        if what == "import":
            return canonical.bring_in(request, limits, scratch, channel.progress)
        wishes = request.get("reading") or {}
        return canonical.look(Path(request["source"]), shown_name(request["name"]), limits, scratch, wishes)
    if what in ("head", "splits"):
        from studio.importing import heads, splits

        return heads.first_rows(request) if what == "head" else splits.splits(Path(request["source"]), request["name"])
    data, model = Path(request["data"]), Path(request["model"])
    if what == "preview":
        from studio.importing import seen

        return seen.preview(data, model, int(request.get("index", 0)), request.get("max_length"))
    from studio.importing import counting

    return counting.count(data, model, request, channel.progress)


def main() -> None:
    """Read the request, take the limits, answer."""
    gc.set_threshold(100_000, 50, 100)  # rows are many small objects without cycles
    channel = Channel()
    request = json.loads(sys.stdin.buffer.read())
    limits = Limits(**request.get("limits", {}))
    set_limits(limits)
    forbid_network()
    try:
        channel.say({"result": answer(request, channel, limits)})
    except StudioError as error:
        channel.say({"error": _error(error)})
    except (MemoryError, ImportError):  # a library that does not find room for itself
        needs = Refused(
            f"{shown_name(request.get('name', 'This'))} needs more than {limits.memory_bytes / _GIB:.1f} GiB to read.",
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
