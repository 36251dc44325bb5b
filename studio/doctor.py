"""`tunesmith doctor`: what this machine is, and what would stand in the way."""

import json
import os
import platform
import subprocess
import sys
from typing import Any

import httpx
import psutil
from rich.console import Console

from studio.core import starter
from studio.core.boot import Check, check_place, check_records
from studio.core.disk import amount, ballast_path, free_bytes
from studio.core.errors import StudioError
from studio.core.locks import is_held
from studio.core.machine import processor_name, real_cores
from studio.core.migrate import known_revisions
from studio.core.settings import GIB, Settings

FREE_BYTES = 2 * GIB


def examine(settings: Settings, console: Console) -> dict[str, Any]:
    """The report; `problems` are sentences, `ok` is whether there are none."""
    with console.status("Reading the records"):
        checks = [*check_place(settings), *_records(settings)]
    with console.status("Measuring the devices"):
        devices = _devices()
    free = free_bytes(settings)
    report: dict[str, Any] = {
        "python": platform.python_version(),
        **{check.name.replace(" ", "_"): check.found for check in checks},
        "data_dir": str(settings.data_dir),
        "worker": "at work" if is_held(settings.locks_dir / "supervisor.lock") else "not running",
        "ballast": amount(ballast.stat().st_size) if (ballast := ballast_path(settings)).is_file() else "none",
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
    problems = [f"{check.problem} {check.remedy}" for check in checks if check.problem]
    problems += _problems(free, devices)
    return {"ok": not problems, **report, "problems": problems}


def _records(settings: Settings) -> list[Check]:
    """The boot checks of the records; a file that stays busy is a finding too."""
    try:
        return list(check_records(settings, known_revisions(), thorough=True))
    except StudioError as error:
        return [Check("records", "not readable now", error.problem, error.remedy)]


def _problems(free: int, devices: dict[str, Any]) -> list[str]:
    found = []
    if free < FREE_BYTES:
        found.append(f"Only {free / GIB:.1f} GiB are free for the data folder. Make room: a run needs about 2 GiB.")
    if not devices:
        found.append("The devices could not be measured. Look whether torch is installed whole.")
    return found


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
