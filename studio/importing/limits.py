"""What this process may use. Set before a stranger's file or template is touched."""

import ctypes
import errno
import platform
import resource
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from studio.core.errors import Refused
from studio.core.template import ANOTHER_MODEL, UNSAFE

TEMPLATE_SECONDS = 2.0
_GIB = 1024**3
_OPEN_FILES = 64


@dataclass(frozen=True)
class Limits:
    """What reading one file may use.

    A packed file is refused where more than `packed_bytes` come out of it and that is more than `ratio` times what went
    in, and where more than `unpacked_bytes` come out at all. `levels` is how deep JSON may nest.
    """

    memory_bytes: int = 2 * _GIB
    cpu_seconds: int = 60
    file_bytes: int = 4 * _GIB
    line_bytes: int = 50 * 2**20
    levels: int = 64
    ratio: int = 100
    packed_bytes: int = 50_000_000
    unpacked_bytes: int = 4 * _GIB


def set_limits(limits: Limits) -> None:
    """Address space, CPU seconds, size of a file written, open files; no core dumps."""
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes),
        # The soft limit ends with SIGXCPU, which the parent knows.
        (resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 2),
        (resource.RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
    ):
        ceiling = resource.getrlimit(what)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(what, (soft, hard))


# By machine: its number in the kernel's audit header, that of the call that sets a filter, and those that are refused:
# socket, connect, execve, execveat, ptrace, io_uring_setup, process_vm_writev, pidfd_getfd.
_CALLS = {
    "x86_64": (0xC000003E, 317, (41, 42, 59, 322, 101, 425, 311, 438)),
    "aarch64": (0xC00000B7, 277, (198, 203, 221, 281, 117, 425, 271, 438)),
}
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF: load a word, jump if ==, jump if >=, return
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
_OTHER_ABI = 0x40000000  # the 32-bit calls of x86_64, under other numbers
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER, _ALL_THREADS = 38, 22, 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def forbid_network() -> bool:
    """From now on no thread of this process can open a socket, start a program or look into another process.

    Such calls fail with `PermissionError`. It can not be taken back. False where the kernel offers no such filter.
    """
    machine = _CALLS.get(platform.machine())
    if machine is None or platform.system() != "Linux":
        return False
    audit, call, refused = machine
    code = _program(audit, refused)
    program = _Program(len(code) // 8, code)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
            return False
        asked = libc.syscall(call, _FILTER, _ALL_THREADS, ctypes.byref(program))
        return asked == 0 or libc.prctl(_SET_SECCOMP, 2, ctypes.byref(program), 0, 0) == 0
    except (OSError, AttributeError):
        return False


def _program(audit: int, refused: tuple[int, ...]) -> bytes:
    """The filter as the kernel reads it: eight bytes a step (what, steps to skip if so, if not, a number)."""
    count = len(refused)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 0, count + 2, audit), (_LOAD, 0, 0, 0), (_AT_LEAST, count, 0, _OTHER_ABI)]
    steps += [(_EQUAL, count - place, 0, number) for place, number in enumerate(refused)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


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
