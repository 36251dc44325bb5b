"""What the control group counts: how often the kernel killed a process of ours for want of memory, and what is left."""

from pathlib import Path

import psutil

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def oom_kills(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """The count of our own group (version 2, else 1); None where the system keeps none."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    groups = dict(line.split(":", 2)[1:] for line in lines if line.count(":") >= 2)
    own = next((path for names, path in groups.items() if "memory" in names.split(",")), None)
    places = [root / groups[""].lstrip("/") / "memory.events", root / "memory.events"] if "" in groups else []
    if own is not None:
        places += [root / "memory" / own.lstrip("/") / "memory.oom_control", root / "memory" / "memory.oom_control"]
    return next((count for place in places if (count := _count(place)) is not None), None)


def _count(path: Path) -> int | None:
    """The number behind `oom_kill` in a counter file; None where there is none."""
    try:
        pairs = dict(line.split() for line in path.read_text().splitlines() if len(line.split()) == 2)
        return int(pairs["oom_kill"])
    except (OSError, KeyError, ValueError):
        return None


def free_memory(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """Bytes that may still be taken: what the host has, or what the control group (version 2) leaves, if less."""
    available = int(psutil.virtual_memory().available)
    try:
        groups = dict(line.split(":", 2)[1:] for line in membership.read_text().splitlines() if line.count(":") >= 2)
        place = root / groups[""].lstrip("/")
        limit, used = (int((place / name).read_text()) for name in ("memory.max", "memory.current"))
        caches = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
        return min(available, limit - used + int(caches["inactive_file"]))
    except (OSError, KeyError, ValueError):  # no group, or one without a limit ("max")
        return available
