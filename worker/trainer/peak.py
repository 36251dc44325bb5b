"""The most memory that this process ever held: what the forecast is measured against."""

import resource
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")


def peak_bytes(device: str = "cpu") -> int:
    """Bytes: resident memory at its highest on a processor, what torch asked of an accelerator at its highest there.

    VmHWM and not `ru_maxrss`: the latter is handed down from the parent when a process starts.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_reserved(device))
    try:
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def used(before: int, device: str) -> dict[str, int]:
    """What the run took at its peak beyond `before`, which stood on the processor when the model was not loaded yet."""
    before = 0 if device.startswith("cuda") else before
    peak = peak_bytes(device)
    return {"before": before, "peak": peak, "used": max(0, peak - before)}
