"""The real worker, with the stand-in trainer where it is asked for: supervisor, Huey, locks and sweep are ours.

The devices are not measured: that imports torch for seconds at each of hundreds of starts, and no run depends on it.
"""

import sys

from worker import consumer
from worker.__main__ import main
from worker.spare import SpareKeeper
from worker.supervise import Supervisor

if __name__ == "__main__":
    if sys.argv[1:] == ["standin"]:
        Supervisor.trainer = (sys.executable, "-m", "tests.chaos.standin")
        SpareKeeper.command = (*Supervisor.trainer, "spare")
    consumer.measure = lambda settings, supervisor, machines: machines.report(
        supervisor.host, supervisor.worker_id, {"matmul": {}}
    )
    sys.exit(main([]))
