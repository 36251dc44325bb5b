"""Named places beside every durable write, where a test kills the process or fills the disk. Nothing in production.

The tests' chaos driver names a folder in `TUNESMITH_FAILPOINTS` before a process starts; without it `failpoint` does
nothing at all. In that folder every process appends to `history.jsonl` what it passed, and reads `armed`: one line
"NAME ACTION", with the action `kill` (SIGKILL of itself) or `full` (the disk is full). An armed place acts once.
"""

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

VARIABLE = "TUNESMITH_FAILPOINTS"


def _nothing(name: str, **facts: Any) -> None:
    """Production: no place is looked at."""
    del name, facts


def _watched(name: str, **facts: Any) -> None:
    """Tests: append to the history, then act where this place is armed."""
    folder = Path(os.environ[VARIABLE])
    line = {"at": time.monotonic(), "pid": os.getpid(), "name": name, **facts}
    _append(folder / "history.jsonl", line)
    try:
        wanted, action = (folder / "armed").read_text().split()
    except (OSError, ValueError):
        return
    if wanted != name:
        return
    try:
        (folder / "armed").rename(folder / f"fired-{time.monotonic_ns()}")  # the first process that comes by acts
    except OSError:
        return
    _append(folder / "history.jsonl", {**line, "at": time.monotonic(), "name": "fired", "place": name})
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _append(path: Path, line: dict[str, Any]) -> None:
    """One line in one write: whole between processes."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


failpoint = _watched if os.environ.get(VARIABLE) else _nothing
