"""Waiting without sleeping blindly: until something is so, with a deadline."""

import socket
import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], object], seconds: float = 30, every: float = 0.1) -> None:
    """Look until it is so. Fails with the condition's name after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {getattr(is_so, '__name__', is_so)}")
        time.sleep(every)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
