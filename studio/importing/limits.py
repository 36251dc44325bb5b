"""What this process may use. Set before a stranger's file or template is touched."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from studio.core.errors import Refused
from studio.core.template import ANOTHER_MODEL, UNSAFE

TEMPLATE_SECONDS = 2.0


def set_limits(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Address space, CPU seconds, size of a file written, open files; no core dumps."""
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 2),  # soft ends with SIGXCPU, which the parent knows
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, 64, 64),
    ):
        ceiling = resource.getrlimit(what)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(what, (soft, hard))


@contextmanager
def template_guard(seconds: float = TEMPLATE_SECONDS) -> Iterator[None]:
    """Ends a template that takes longer than `seconds` with a sentence.

    The alarm is heard between two steps of Python. One endless step (a power of huge numbers) never hears it: then the
    second timer, of CPU time, ends the process with SIGPROF, and the parent says the same sentence.
    """

    def too_slow(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise Refused(UNSAFE, ANOTHER_MODEL)

    signal.signal(signal.SIGALRM, too_slow)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_PROF, seconds + 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
