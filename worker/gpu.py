"""Devices, their memory, and how fast they multiply matrices in each number format."""

import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import psutil
import torch

from studio.core.machine import processor_name, real_cores

PROBE_SECONDS = 0.1
ROUNDS = 5
PROBE_SIZE = {"cpu": 512, "cuda": 4096}
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Device:
    """Something that can train. `name` is torch's (cpu, cuda:0), `title` is for people; memory in bytes."""

    name: str
    kind: str
    title: str
    memory: int
    free: int


def devices() -> list[Device]:
    """Accelerators first, the processor last."""
    return [_cuda(index) for index in range(torch.cuda.device_count())] + [_processor()]


def _cuda(index: int) -> Device:
    free, total = torch.cuda.mem_get_info(index)
    return Device(f"cuda:{index}", "cuda", torch.cuda.get_device_name(index), total, free)


def _processor() -> Device:
    memory = psutil.virtual_memory()
    return Device("cpu", "cpu", processor_name(), memory.total, memory.available)


def best_device() -> Device:
    """The first accelerator, else the processor."""
    return devices()[0]


def use_threads(wanted: int = 0) -> int:
    """Set torch's threads to `wanted`, or to the real cores where it is 0; gives the number set."""
    threads = wanted or real_cores()
    torch.set_num_threads(threads)
    return threads


def matmul_speeds(device: str = "cpu", seconds: float = PROBE_SECONDS) -> dict[str, float]:
    """GFLOP/s of one matrix product by number format, the best of what fits into `seconds` for each.

    The best and not the mean: the machine may be busy, and what counts is what the processor can do. A processor
    without bfloat16 instructions needs most of a second here, and a hundred times as long in training.
    """
    best = dict.fromkeys(DTYPES, 0.0)
    for _ in range(ROUNDS):  # in turn, so that a busy moment does not hit one format alone
        for name, dtype in DTYPES.items():
            best[name] = max(best[name], _speed(dtype, torch.device(device), seconds / ROUNDS))
    return best


def speeds_of(device: Device, known: dict[str, Any], threads: int) -> dict[str, float]:
    """As `matmul_speeds`; what is `known` of this device with as many threads is not measured again."""
    titles = [one.get("title") for one in known.get("devices", [])]
    speeds: dict[str, float] = known.get("matmul", {})
    is_known = titles[:1] == [device.title] and known.get("cores") == threads and set(speeds) >= set(DTYPES)
    return speeds if is_known else matmul_speeds(device.name)


def _speed(dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    size = PROBE_SIZE.get(device.type, 512)
    left = torch.ones(size, size, dtype=dtype, device=device)
    out = left @ left  # the first product also makes the library's plans
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        _wait(device)
        start = time.perf_counter()
        torch.mm(left, left, out=out)
        _wait(device)
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return round(2 * size**3 / best / 1e9, 1)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fastest_dtype(speeds: dict[str, float]) -> str:
    """bfloat16 where it was measured faster than float32, else float32. Never float16: it overflows in training.

    The same answer holds for decoding: reading a prompt is a large product, and where bfloat16 has no instructions
    float32 also makes more tokens a second (facts.md), though it is the larger one to read from memory.
    """
    return "bfloat16" if speeds["bfloat16"] > speeds["float32"] else "float32"


def facts() -> dict[str, Any]:
    """What `doctor` and the pages show of this machine: cores, devices, GFLOP/s by number format, the one to take."""
    found = devices()
    use_threads()
    speeds = matmul_speeds(found[0].name)
    return {
        "cores": real_cores(),
        "devices": [asdict(device) for device in found],
        "matmul": speeds,
        "dtype": fastest_dtype(speeds),
        "flash_attention": find_spec("flash_attn") is not None,
    }
