"""Both ends of a child process that answers one question: a JSON request on its standard input, JSON lines back.

Lines: `{"progress": 0..1, "words": ""}` any number of times, then `{"result": {...}}` or
`{"error": {"problem", "remedy", "field", "status", "reason"}}`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TextIO

import studio
from studio.core.errors import Conflict, NotFound, Refused, StudioError, Unavailable

Progress = Callable[[float, str], None]
Child = subprocess.Popen[bytes]
_LONGEST_LINE = 64 * 1024 * 1024
_KINDS = {404: NotFound, 409: Conflict, 503: Unavailable}


# ---------- the parent's end
def start(module: str, errors: IO[bytes], environment: Mapping[str, str]) -> Child:
    """`python -m module` in its own session, with this environment and little else: no token of ours reaches it."""
    root = str(Path(studio.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd="/",
        start_new_session=True,
        env={"PATH": os.defpath, "PYTHONPATH": root, "LANG": "C.UTF-8", **environment},
    )


def talk(child: Child, request: Mapping[str, Any], on_progress: Progress | None) -> dict[str, Any]:
    """Ask, pass progress on, and return the last line; an empty dict where the child died before it."""
    assert child.stdin is not None and child.stdout is not None
    last: dict[str, Any] = {}
    with child.stdout:
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(json.dumps(request).encode())
        while line := child.stdout.readline(_LONGEST_LINE):
            try:
                last = json.loads(line)
            except ValueError:  # cut in the middle by a death, or longer than any answer of ours
                return {}
            if "progress" not in last:
                break
            if on_progress is not None:
                on_progress(last["progress"], last["words"])
    if "progress" in last or not last:
        child.wait()
        return {}
    return last


def end(child: Child) -> None:
    """End the child and all it started, and take its exit status."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def as_error(error: Mapping[str, Any]) -> StudioError:
    """The error of a child's last line."""
    kind = _KINDS.get(int(error.get("status", 422)), Refused)
    return kind(error["problem"], error.get("remedy", ""), field=error.get("field", ""))


# ---------- the child's end
class Channel:
    """Standard output, kept for our lines alone: what a library prints there goes nowhere."""

    def __init__(self) -> None:
        """From now on nothing else reaches the parent."""
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="ascii")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)

    def say(self, line: Mapping[str, Any]) -> None:
        """One line out."""
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()

    def say_progress(self, share: float, words: str) -> None:
        """How far the work is."""
        self.say({"progress": round(share, 4), "words": words})

    def fail(self, error: StudioError) -> None:
        """The last line of a child that has an error to tell."""
        told = {name: getattr(error, name) for name in ("problem", "remedy", "field", "status")}
        self.say({"error": {**told, "reason": getattr(error, "reason", "")}})
