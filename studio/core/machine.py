"""What can be said of this machine without torch."""

import functools
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from studio.core.artifacts import read_json


@functools.cache
def processor_name() -> str:
    """The processor's own name, or the architecture where it gives none."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@functools.cache
def real_cores() -> int:
    """Cores that this process may use, without hyper-threads where the machine says which are."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, psutil.cpu_count(logical=False) or allowed)


def measured(data_dir: Path) -> dict[str, Any]:
    """What a worker measured of this very machine (`machine.json`); empty where it was another one, or none did."""
    known: dict[str, Any] = read_json(data_dir / "machine.json") or {}
    is_this = (known.get("processor"), known.get("cores")) == (processor_name(), real_cores())
    return known if is_this else {}


@dataclass(frozen=True)
class Load:
    """Now: bytes of memory and disk."""

    memory_total: int
    memory_used: int
    disk_free: int


def load_now(data_dir: Path) -> Load:
    """Memory of the host and space on the data dir's disk."""
    memory = psutil.virtual_memory()
    return Load(memory.total, memory.total - memory.available, psutil.disk_usage(str(data_dir)).free)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its children; 0 where it is gone."""
    try:
        process = psutil.Process(pid)
        return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0
