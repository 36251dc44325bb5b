"""Spare trainers without torch: `python spare_trainer.py MODE`. In reserve they wait as the real one does."""

import json
import os
import socket
import sys
import time
from pathlib import Path

from worker.trainer import waiting


def tell(run_id: str) -> int:
    """Write down what a trainer can see of itself, then end as the supervisor's own word for "done"."""
    line = socket.socket(fileno=int(os.environ["TUNESMITH_LIFELINE"]))
    line.send(b".")
    mine = Path("/proc/self/fd")
    held = {path.readlink().name for path in mine.iterdir() if path.exists()}
    seen = {
        "environment": {name: value for name, value in os.environ.items() if name != "TUNESMITH_LIFELINE"},
        "arguments": sys.argv[1:],
        "locks": sorted(name for name in held if name.endswith(".lock")),
        "streams": [str((mine / number).readlink()) for number in "012"],
        "leads": os.getsid(0) == os.getpid(),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
    }
    print("a word for the log")
    Path(os.environ["TUNESMITH_DATA_DIR"], "runs", run_id, "seen.json").write_text(json.dumps(seen))
    return 3


def main(mode: str, *run: str) -> int:
    """`trainer RUN` is a fresh one; the other modes are spares."""
    if mode == "trainer":
        return tell(run[0])
    if mode == "broken":
        return 1
    if mode == "dies":  # with the run's descriptors in its hands, before it answers
        waiting.become = lambda *_: os._exit(9)
    if mode == "deaf":
        waiting.become = lambda *_: time.sleep(600)
    return waiting.wait_for_run(lambda: None, tell)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
