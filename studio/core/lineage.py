"""A child that does not outlive its parent (Linux: the parent-death signal)."""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import psutil

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


def started_at(pid: int) -> float | None:
    """When a process started, in a unit that never changes while the machine is up; None where it is gone.

    With the pid it names one process for good: pids are used again, and wall-clock times move with the clock.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        if Path("/proc/self/stat").exists():
            return float(stat.read_text().rpartition(")")[2].split()[19])  # field 22, in ticks
        return float(psutil.Process(pid).create_time())
    except (OSError, psutil.Error):
        return None


def kill_session(leader: int, leader_started: float | None) -> bool:
    """SIGKILL to every process of the session that `leader` began. False where the pid is another process's by now."""
    now = started_at(leader)
    if now is not None and now != leader_started:
        return False
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == leader:
                os.kill(process.pid, signal.SIGKILL)
    return True
