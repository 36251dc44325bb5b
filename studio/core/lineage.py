"""A child that does not outlive its parent (Linux: the parent-death signal)."""

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "TUNESMITH_PARENT"
PR_SET_PDEATHSIG = 1


def die_with_parent(signum: int = signal.SIGKILL) -> None:
    """Ask the kernel for `signum` when the thread that started this process ends. Call it before anything slow.

    The parent is the one that named itself in our environment; without such a name nothing is asked. Raises SystemExit
    where it died before the kernel was asked: its death would never be told to us.
    """
    named = os.environ.get(PARENT_VARIABLE)
    if not named:
        return
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != int(named):
        raise SystemExit(f"The starter of this process ({named}) is gone.")
