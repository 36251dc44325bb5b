"""`tunesmith doctor`: what this machine is, and what would stand in the way."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console

from studio.core import starter
from studio.core.db import DRIVER, journal_mode
from studio.core.machine import processor_name, real_cores
from studio.core.settings import GIB, Settings

# File systems on which SQLite's locks or its WAL can not be trusted.
REFUSED = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs"}
FREE_BYTES = 2 * GIB


def examine(settings: Settings, console: Console) -> dict[str, Any]:
    """The report; `problems` are sentences, `ok` is whether there are none."""
    place = _existing(settings.data_dir)
    file_system, free = file_system_of(place), psutil.disk_usage(str(place)).free
    with console.status("Measuring the devices"):
        devices = _devices()
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "sqlite": f"{DRIVER.sqlite_version}, {journal_mode()} journal",
        "data_dir": str(settings.data_dir),
        "file_system": file_system,
        "disk_free_gib": round(free / GIB, 1),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "processor": processor_name(),
        "cores": real_cores(),
        "devices": devices.get("devices", []),
        "matmul_gflops": devices.get("matmul", {}),
        "dtype": devices.get("dtype"),
        "hub": "reachable" if hub_answers() else "not reachable",
        "starter_model": _starter(settings),
    }
    problems = _problems(file_system, free, devices)
    return {"ok": not problems, **report, "problems": problems}


def _problems(file_system: str, free: int, devices: dict[str, Any]) -> list[str]:
    found = []
    if file_system in REFUSED or file_system.startswith("fuse"):
        found.append(f"The data folder lies on {file_system}, where SQLite is not safe. Choose a local disk.")
    if free < FREE_BYTES:
        found.append(f"Only {free / GIB:.1f} GiB are free for the data folder. Make room: a run needs about 2 GiB.")
    if not devices:
        found.append("The devices could not be measured. Look whether torch is installed whole.")
    return found


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def file_system_of(path: Path) -> str:
    """The type of the file system that holds `path`, as the kernel calls it."""
    real = path.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if real.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _starter(settings: Settings) -> str:
    """Whether the starter model is here, and where it came from."""
    came = starter.source(settings)
    return f"here, from the {came['source']} ({came['revision']})" if came else "not fetched yet"


def _devices() -> dict[str, Any]:
    """What `python -m worker devices` measures; empty where it fails."""
    process = subprocess.run([sys.executable, "-m", "worker", "devices"], capture_output=True, check=False)
    if process.returncode != 0:
        return {}
    return dict(json.loads(process.stdout.strip().splitlines()[-1]))


def hub_answers() -> bool:
    """Whether the Hub (or what HF_ENDPOINT names) answers within three seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        return httpx.head(endpoint, timeout=3, follow_redirects=True).status_code < 500
    except httpx.HTTPError:
        return False
