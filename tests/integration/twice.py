"""A run that is begun again and again: its job, and a process that forks an attempt on it for every line it reads."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from tests.integration.trainer_jobs import Recorder, job
from worker import gpu
from worker.trainer.job import Job
from worker.trainer.phases import train

EPOCHS = 15


def made(model: Path, data: Path, out: Path) -> Job:
    """A job of six steps an epoch that saves after every one, with dropout in its adapter."""
    training = {
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "eval_share": 0,
        "learning_rate": 1e-3,
    }
    one = job(model, data, out, adapter={"r": 4, "lora_dropout": 0.1}, training=training)
    return replace(one, checkpoint_seconds=0.0)


def attempt(work: Job) -> None:
    """One attempt, in a process of its own that never comes back."""
    code = 20
    try:
        train(work, Recorder())
        code = 0
    finally:
        os._exit(code)


def main(model: Path, data: Path, out: Path) -> None:
    """For each line of standard input: the pid of an attempt, then, when it has ended, its exit code."""
    work = made(model, data, out)
    gpu.matmul_speeds = lambda *_: {"float32": 1.0}  # the probe alone would take most of an attempt
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            os.dup2(2, 1)
            attempt(work)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
