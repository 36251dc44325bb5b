"""Trainers that misbehave, each in one way: `python odd_trainer.py MODE RUN_ID`. No torch, so they start at once."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


def leave_a_child() -> None:
    """End, and leave a process behind that holds the locks."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
    sys.exit(0)


DEEDS = {
    "deaf": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "code": lambda: sys.exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "yields": lambda: signal.signal(signal.SIGTERM, lambda *_: sys.exit(40)),
    "child": leave_a_child,
}


def main(mode: str, run_id: str) -> None:
    """Misbehave until somebody ends it."""
    line = socket.socket(fileno=int(os.environ["TUNESMITH_LIFELINE"]))
    Path(os.environ["TUNESMITH_DATA_DIR"], "runs", run_id, f"began-{os.environ['TUNESMITH_CLAIM']}").touch()
    DEEDS.get(mode, lambda: None)()
    while True:
        if mode != "silent":
            line.send(b".")
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
