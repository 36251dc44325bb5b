"""Kernel locks: who holds one lives. Lock files are never unlinked; a descriptor is handed down to a trainer."""

import fcntl
import os
from pathlib import Path


def take(path: Path) -> int | None:
    """An inheritable descriptor that holds the exclusive lock on `path`; None where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def is_free(path: Path) -> bool:
    """Whether nobody alive holds `path`."""
    handle = take(path)
    if handle is None:
        return False
    os.close(handle)
    return True
