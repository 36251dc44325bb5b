"""Kernel locks on files: who holds one lives. Lock files are never unlinked."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive `flock` on `path`, waiting for it; the file stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def hold(path: Path, *, shared: bool = False) -> int | None:
    """A descriptor that holds the lock on `path` until it is closed; None where another process is in the way."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    return handle if _locked(handle, shared=shared) else None


def _locked(handle: int, *, shared: bool) -> bool:
    """Lock an open file; where another process is in the way, it is closed."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether somebody alive holds `path`. Makes no file: it may be asked of a run that is being deleted."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    if not _locked(handle, shared=True):
        return True
    os.close(handle)
    return False
