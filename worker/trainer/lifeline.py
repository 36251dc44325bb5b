"""The trainer's end of the socket between it and its supervisor: a pulse one way, the news of a death the other."""

import contextlib
import os
import signal
import socket
import threading
import time

VARIABLE = "TUNESMITH_LIFELINE"
EVERY_SECONDS = 1.0
_line: socket.socket | None = None
_last = 0.0


def start() -> None:
    """Watch the supervisor's end: when it closes, this whole process group ends at once. Nothing without a lifeline."""
    global _line
    number = os.environ.get(VARIABLE)
    if number is None:
        return
    _line = socket.socket(fileno=int(number))
    threading.Thread(target=_watch, args=(_line,), name="lifeline", daemon=True).start()


def _watch(line: socket.socket) -> None:
    with contextlib.suppress(OSError):  # a reset: the supervisor died before it had read every pulse
        while line.recv(64):
            pass
    os.killpg(0, signal.SIGKILL)


def pulse() -> None:
    """Say that work goes on; at most once a second, and never waiting."""
    global _last
    now = time.monotonic()
    if _line is None or now - _last < EVERY_SECONDS:
        return
    _last = now
    try:
        _line.send(b".", socket.MSG_DONTWAIT)
    except OSError:
        return
