"""Ask the process that reads strangers' files and templates: `python -m studio.importing`, one process a question.

The child limits itself (memory, CPU time, file size, open files); here stand the wall clock and the sentences for a
child that died. Safe to call from any thread of the web process.
"""

import logging
import signal
import tempfile
from pathlib import Path
from threading import BoundedSemaphore, Event, Timer
from typing import IO, Any

from studio.core.child import Child, Progress, as_error, end, start, talk
from studio.core.errors import Refused, StudioError, Unavailable
from studio.core.formats import shown_name
from studio.core.settings import GIB, Settings
from studio.core.template import ANOTHER_MODEL, UNSAFE

log = logging.getLogger(__name__)

_BEGUN_BYTES = 100_000_000
# So many children at once, whoever asks: reading whole files, and short looks that never wait behind those.
_LONG, _SHORT, _PATIENCE_S = BoundedSemaphore(3), BoundedSemaphore(3), 120.0
_PACKED = (".parquet", ".zip", ".gz", ".zst", ".xlsx", ".arrow")
_PACKED_TIMES = 10
SCRATCH = ".reading-"  # how the child's folders for unpacked files are called in the data folder
_ENVIRONMENT = {
    # Threads and pools reserve address space, which is limited.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "2",
    "MALLOC_ARENA_MAX": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "TOKENIZERS_PARALLELISM": "true",
}


def ask(request: dict[str, Any], settings: Settings, on_progress: Progress | None = None) -> dict[str, Any]:
    """The result of `request` (`do`: inspect, import, preview, count or model; see `studio.importing`).

    `on_progress` gets a share from 0 to 1 and words; where it raises, the child is ended and the error goes on. Raises
    `StudioError` with the child's sentence, or with one about memory or time where it was ended.
    """
    seats = _LONG if request["do"] in ("import", "count") else _SHORT
    if not seats.acquire(timeout=_PATIENCE_S):
        raise Unavailable("The studio is reading many other files just now.", "Try again in a minute.")
    try:
        return _asked(request, settings, on_progress)
    finally:
        seats.release()


def _asked(request: dict[str, Any], settings: Settings, on_progress: Progress | None) -> dict[str, Any]:
    limits = _limits(request, settings)
    cpu = limits["cpu_seconds"]
    home = settings.data_dir if settings.data_dir.is_dir() else None
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory(prefix=SCRATCH, dir=home) as scratch:
        child = start("studio.importing", errors, _ENVIRONMENT)
        late = Event()
        clock = Timer(2 * cpu + 30, _too_late, (late, child))
        clock.daemon = True
        clock.start()
        try:
            last = talk(child, {"scratch": scratch, **request, "limits": limits}, on_progress)
        finally:
            clock.cancel()
            end(child)
        if "result" in last:
            return dict(last["result"])
        if "error" in last:
            raise as_error(last["error"])
        raise _death(child.returncode, late.is_set(), request, limits, errors)


def _limits(request: dict[str, Any], settings: Settings) -> dict[str, int]:
    """What the child may use, by the size of what it reads. Packed files hold more than they weigh."""
    parts = request.get("parts") or [request]
    size = sum(_size(part) for part in parts)
    packed = any(str(part.get("name", ".parquet")).lower().endswith(_PACKED) for part in parts)
    hundreds = max(1, -(-size * (_PACKED_TIMES if packed else 1) // _BEGUN_BYTES))
    unpacked = min(max(settings.import_ratio * size, settings.import_packed_bytes), settings.max_upload_bytes)
    return {
        "memory_bytes": settings.import_memory_bytes,
        "cpu_seconds": settings.import_seconds * hundreds,
        "file_bytes": max(4 * size, unpacked) + 64 * 2**20,
        "line_bytes": settings.import_line_bytes,
        "levels": settings.import_levels,
        "ratio": settings.import_ratio,
        "packed_bytes": settings.import_packed_bytes,
        "unpacked_bytes": settings.max_upload_bytes,
    }


def _size(part: dict[str, Any]) -> int:
    """Bytes of the file in question; 0 where it is gone, which the child will say."""
    try:
        return Path(part.get("source") or part.get("data") or part["model"]).stat().st_size
    except OSError:
        return 0


def _too_late(late: Event, child: Child) -> None:
    late.set()
    end(child)


def _death(code: int, late: bool, request: dict[str, Any], limits: dict[str, int], errors: IO[bytes]) -> StudioError:
    """What a person is told of a child that died."""
    name = shown_name(str(request.get("name") or "This"))
    smaller = ANOTHER_MODEL if request["do"] == "model" else "Split it into smaller files."
    if code == -signal.SIGPROF:
        return Refused(UNSAFE, ANOTHER_MODEL)
    if late or code == -signal.SIGXCPU:
        return Refused(f"{name} took longer than {limits['cpu_seconds']} s to read.", smaller)
    if code in (-signal.SIGKILL, -signal.SIGABRT):
        gib = limits["memory_bytes"] / GIB
        return Refused(f"{name} needs more than {gib:.1f} GiB to read.", smaller)
    errors.seek(0)
    log.error("the importing process died with %s: %s", code, errors.read()[-4000:].decode(errors="replace"))
    return Refused(f"{name} could not be read.", "Check that it opens elsewhere, or choose another file.")
