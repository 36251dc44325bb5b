"""`python -m studio.importing`: asked as `studio.core.child` says; it takes its limits before it does anything."""

import gc
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from studio.core.child import Channel
from studio.core.errors import Refused, StudioError
from studio.core.formats import shown_name
from studio.importing.limits import Limits, forbid_network, set_limits

_GIB = 1024**3
_BETWEEN_LINES_S = 0.2


class Seldom(Channel):
    """Tells progress a few times a second at most."""

    _last = 0.0

    def progress(self, share: float, words: str) -> None:
        """Say how far the work is."""
        now = time.monotonic()
        if now - self._last >= _BETWEEN_LINES_S:
            self._last = now
            self.say_progress(share, words)


def answer(request: dict[str, Any], channel: Seldom, limits: Limits) -> dict[str, Any]:
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
    model = Path(request["model"])
    if what == "model":
        from studio.importing import model_check

        return model_check.check(model, str(request["template"]))
    data = Path(request["data"])
    if what == "preview":
        from studio.importing import seen

        return seen.preview(data, model, int(request.get("index", 0)), request)
    from studio.importing import counting

    return counting.count(data, model, request, channel.progress)


def main() -> None:
    """Read the request, take the limits, answer."""
    gc.set_threshold(100_000, 50, 100)  # rows are many small objects without cycles
    channel = Seldom()
    request = json.loads(sys.stdin.buffer.read())
    limits = Limits(**request.get("limits", {}))
    set_limits(limits)
    forbid_network()
    try:
        channel.say({"result": answer(request, channel, limits)})
    except StudioError as error:
        channel.fail(error)
    except (MemoryError, ImportError):  # a library that does not find room for itself
        needs = Refused(
            f"{shown_name(request.get('name', 'This'))} needs more than {limits.memory_bytes / _GIB:.1f} GiB to read.",
            "Split it into smaller files.",
        )
        channel.fail(needs)
    except Exception as error:
        # The message may hold a person's rows, so only the kind and the places are told.
        sys.stderr.write(type(error).__name__ + "\n" + "".join(traceback.format_tb(error.__traceback__)))
        sys.exit(1)


if __name__ == "__main__":
    main()
