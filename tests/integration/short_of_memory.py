"""A trainer in a process that may not have much more memory: `python -m tests.integration.short_of_memory`.

Arguments: the model's folder, data.parquet, the run's folder, MiB beyond what it holds before the first step, and the
examples of one step. Prints one JSON object: the timeline, the losses, and the steps or the failure.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.integration.trainer_jobs import Recorder, job
from worker.trainer import phases
from worker.trainer.failures import explain

MIB = 1024**2


def main(model: str, data: str, out: str, more: str, examples: str) -> None:
    """Train, with the limit set right before the loop is built."""
    real = phases.build

    def build(*given: Any) -> Any:
        if int(more):
            limit = psutil.Process().memory_info().vms + int(more) * MIB
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return real(*given)

    phases.build = build  # type: ignore[assignment]
    training = {"num_train_epochs": 2, "per_device_train_batch_size": int(examples), "micro_batch_tokens": 65536,
                "learning_rate": 0.005, "eval_share": 0}  # fmt: skip
    recorder, found = Recorder(), {}
    work = job(Path(model), Path(data), Path(out), training=training)
    try:
        found["steps"] = phases.train(work, recorder)["steps"]
    except Exception as error:
        failure = explain(error)
        found["failure"] = [failure.reason, failure.problem] if failure else repr(error)
    found |= {
        "events": recorder.events,
        "loss": recorder.series("loss"),
        "learnt": recorder.series("learnt_tokens_per_s"),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
