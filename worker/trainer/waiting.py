"""A trainer in reserve: everything is imported, and it waits for a run. It holds no lock before it is given one."""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable

from studio.core.failpoints import failpoint
from studio.core.lineage import die_with_parent
from worker.trainer import lifeline

READY, TAKEN = b"r", b"t"
NICE = 10
DESCRIPTORS = 3  # run.lock, gpu-N.lock, train.log
LONGEST = 4096


def wait_for_run(warm: Callable[[], None], work: Callable[[str], int]) -> int:
    """Do `warm` at low priority, then `work` on the run that comes; gives its exit code, 0 where none came."""
    die_with_parent()
    line = socket.socket(fileno=int(os.environ[lifeline.VARIABLE]))
    _aside(warm)
    failpoint("spare.ready", trainer=os.getpid())
    line.sendall(READY)
    order = _receive(line)
    if order is None:
        return 0
    run_id, claim, held = order
    failpoint("spare.received", run=run_id, claim=claim)
    become(run_id, claim, held)
    line.sendall(TAKEN)
    failpoint("spare.taken", run=run_id, claim=claim)
    line.detach()  # from here on it is the lifeline
    return work(run_id)


def become(run_id: str, claim: int, held: list[int]) -> None:
    """Be what a fresh trainer of this run would be: its environment, its arguments, its log; the locks stay open."""
    *locks, out = held
    for handle in locks:
        os.set_inheritable(handle, True)  # as a fresh trainer's: what it leaves behind keeps the run's lock too
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (1, 2):
        os.dup2(out, stream)
    os.close(out)
    os.environ["TUNESMITH_CLAIM"] = str(claim)
    sys.argv[1:] = ["trainer", run_id]


def _aside(warm: Callable[[], None]) -> None:
    """Run `warm` in a thread of low priority: the process itself could never take a raised niceness back."""
    failed: list[BaseException] = []

    def at_low_priority() -> None:
        if sys.platform == "linux":  # elsewhere the niceness belongs to the whole process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            warm()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=at_low_priority, name="warm")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _receive(line: socket.socket) -> tuple[str, int, list[int]] | None:
    """The run's id, its claim and the descriptors; None where the supervisor hung up."""
    text, held = b"", list[int]()
    while not text.endswith(b"\n"):
        part, handles, _, _ = socket.recv_fds(line, LONGEST, DESCRIPTORS)
        if not part:
            return None
        text, held = text + part, held + handles
    order = json.loads(text)
    return order["run"], order["claim"], held
