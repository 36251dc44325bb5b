"""Ask the process that reads strangers' files and templates: `python -m studio.importing`, one process a question.

The child limits itself (memory, CPU time, file size, open files); here stand the wall clock and the sentences for a
child that died. Safe to call from any thread of the web process.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer
from typing import IO, Any

import studio
from studio.core.errors import Conflict, NotFound, Refused, StudioError, Unavailable
from studio.core.formats import shown_name
from studio.core.settings import GIB, Settings
from studio.core.template import ANOTHER_MODEL, UNSAFE

log = logging.getLogger(__name__)

Progress = Callable[[float, str], None]
_LONGEST_LINE = 64 * 1024 * 1024
_BEGUN_BYTES = 100_000_000
_KINDS = {404: NotFound, 409: Conflict, 503: Unavailable}


def ask(request: dict[str, Any], settings: Settings, on_progress: Progress | None = None) -> dict[str, Any]:
    """The result of `request` (`do`: inspect, import, preview or count; see `studio.importing`).

    `on_progress` gets a share from 0 to 1 and words; where it raises, the child is ended and the error goes on. Raises
    `StudioError` with the child's sentence, or with one about memory or time where it was ended.
    """
    size = _size(request)
    cpu = settings.import_seconds * max(1, -(-size // _BEGUN_BYTES))
    limits = {"memory_bytes": settings.import_memory_bytes, "cpu_seconds": cpu, "file_bytes": 4 * size + 64 * 2**20}
    with tempfile.TemporaryFile() as errors:
        child = _start(errors)
        late = Event()
        clock = Timer(2 * cpu + 30, _too_late, (late, child))
        clock.daemon = True
        clock.start()
        try:
            last = _talk(child, {**request, "limits": limits}, on_progress)
        finally:
            clock.cancel()
            _end(child)
        if "result" in last:
            return dict(last["result"])
        if "error" in last:
            raise _as_error(last["error"])
        raise _death(child.returncode, late.is_set(), request, limits, errors)


def _size(request: dict[str, Any]) -> int:
    """Bytes of the file in question; 0 where it is gone, which the child will say."""
    try:
        return Path(request.get("source") or request["data"]).stat().st_size
    except OSError:
        return 0


def _start(errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    """The child, in its own session, with little in its environment: no token of ours reaches it."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "studio.importing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd="/",
        start_new_session=True,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": str(Path(studio.__file__).parent.parent),
            "LANG": "C.UTF-8",
            # Threads and pools reserve address space, which is limited.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "RAYON_NUM_THREADS": "2",
            "MALLOC_ARENA_MAX": "2",
            "ARROW_DEFAULT_MEMORY_POOL": "system",
            "TOKENIZERS_PARALLELISM": "true",
        },
    )


def _talk(child: "subprocess.Popen[bytes]", request: dict[str, Any], on_progress: Progress | None) -> dict[str, Any]:
    """Ask, pass progress on, and return the last line; an empty dict where the child died before it."""
    assert child.stdin is not None and child.stdout is not None
    last: dict[str, Any] = {}
    with child.stdout:
        with suppress(BrokenPipeError), child.stdin:
            child.stdin.write(json.dumps(request).encode())
        while line := child.stdout.readline(_LONGEST_LINE):
            try:
                last = json.loads(line)
            except ValueError:  # cut in the middle by a death, or longer than any answer of ours
                return {}
            if "progress" not in last:
                break
            if on_progress is not None:
                on_progress(last["progress"], last["words"])
    if "progress" in last or not last:
        child.wait()
        return {}
    return last


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the child and all it started, and take its exit status."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _too_late(late: Event, child: "subprocess.Popen[bytes]") -> None:
    late.set()
    _end(child)


def _as_error(error: dict[str, Any]) -> StudioError:
    kind = _KINDS.get(int(error.get("status", 422)), Refused)
    return kind(error["problem"], error.get("remedy", ""), field=error.get("field", ""))


def _death(code: int, late: bool, request: dict[str, Any], limits: dict[str, int], errors: IO[bytes]) -> StudioError:
    """What a person is told of a child that died."""
    name = shown_name(str(request.get("name") or "This"))
    if code == -signal.SIGPROF:
        return Refused(UNSAFE, ANOTHER_MODEL)
    if late or code == -signal.SIGXCPU:
        return Refused(f"{name} took longer than {limits['cpu_seconds']} s to read.", "Split it into smaller files.")
    if code in (-signal.SIGKILL, -signal.SIGABRT):
        gib = limits["memory_bytes"] / GIB
        return Refused(f"{name} needs more than {gib:.1f} GiB to read.", "Split it into smaller files.")
    errors.seek(0)
    log.error("the importing process died with %s: %s", code, errors.read()[-4000:].decode(errors="replace"))
    return Refused(f"{name} could not be read.", "Check that it opens elsewhere, or choose another file.")
