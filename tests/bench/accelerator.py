"""`python -m tests.bench.accelerator --json [--only NAME]`: training on an accelerator, sequences of 4,096 tokens.

Models of random weights in the shapes of Llama 3 8B and Qwen 2.5 0.5B, LoRA r = 16 on all linear layers over bfloat16
and over NF4, by Tunesmith's path and by TRL's own (tuned: bfloat16, no activation checkpointing). Each contender is a
process of its own. It prints tokens per second, the share of the matrix speed measured in the same process (4N + 3A
operations a token), the peak of memory, and what the forecast said of it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from studio.core.estimate.memory import Load, memory
from studio.core.estimate.terms import Shape
from studio.core.tokenizer import load_chat
from tests.bench.memory_runs import SHAPES, Run, data, make
from tests.bench.training_child import Clock
from tests.integration.trainer_jobs import Recorder, job
from worker.dry_run import Plan
from worker.dry_run.counting import count
from worker.trainer import CUDA_MEMORY
from worker.trainer.batches import StepCollator
from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.effort import work_of
from worker.trainer.job import Job
from worker.trainer.load import load
from worker.trainer.peak import peak_bytes
from worker.trainer.prepare import prepare
from worker.trainer.saving import Kept, Saver
from worker.trainer.trainers import build
from worker.trainer.tuner import Desk

LENGTH, STEPS, EXAMPLES = 4096, 6, 4
NF4 = {"base": {"quantization": "nf4"}}
TRL = {"path": "trl", "per_device_train_batch_size": 1, "gradient_accumulation_steps": EXAMPLES}
PAIRS = {**TRL, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
RUNS = tuple(
    Run(name, model, LENGTH, EXAMPLES, groups)
    for name, model, groups in (
        ("0.5b lora", "words", {}),
        ("0.5b nf4", "words", NF4),
        ("0.5b lora trl", "words", {"training": PAIRS}),
        ("8b lora", "8b", {"training": {"micro_batch_tokens": LENGTH}}),
        ("8b nf4", "8b", {**NF4, "training": {"micro_batch_tokens": 2 * LENGTH}}),
        ("8b lora trl", "8b", {"training": TRL}),
        ("8b nf4 trl", "8b", {**NF4, "training": TRL}),
    )
)


def task_of(run: Run, folder: Path, out: Path) -> Job:
    """The run on its data, of which every example is cut to the same length."""
    groups = {name: dict(values) for name, values in run.groups.items()}
    training = {"per_device_train_batch_size": EXAMPLES, "max_steps": STEPS, "max_length": LENGTH, "warmup_steps": 0,
                "eval_steps": 1000, "logging_steps": 1} | groups.get("training", {})  # fmt: skip
    base = {"dtype": "bfloat16"} | groups.get("base", {})
    return job(folder, data(run, folder, out), out / "run", base=base, training=training)


def forecast(task: Job, budget: int) -> int:
    """Bytes, by what the page asks: a dry run on the meta device, and arithmetic."""
    config, folder = task.config, task.model_folder
    rows = max(1, min(EXAMPLES, budget // LENGTH))
    check = Shape(1, LENGTH, LENGTH // 2)
    counted = count(folder, config, Plan("bfloat16", rows < EXAMPLES, "cuda"))
    blocks = SHAPES[folder.name]["num_hidden_layers"]
    load = Load((Shape(rows, LENGTH, rows * LENGTH // 2),), check)
    return memory(config, "bfloat16", counted, blocks, load, processor=False).total


def one(run: Run, folder: Path, out: Path) -> dict[str, Any]:
    """The child: load, train some steps, say how it went."""
    task = task_of(run, folder, out)
    loaded = load(task)
    prepared = prepare(task.data_parquet, load_chat(folder), task.config.training)
    recorder, clock, meter = Recorder(), Clock(), Meter()
    look, saver = StopLook(recorder), Saver(task, recorder)
    watch = Watch(recorder, meter, look, saver, 0.0)
    tuner = build(task, loaded, prepared, Desk(meter, watch, look, saver, Kept(loaded.dtype, loaded.threads, 0)))
    tuner.add_callback(clock)
    tuner.train()
    seconds, tokens = statistics.median(clock.seconds[2:]), EXAMPLES * LENGTH
    effort, learnt = work_of(loaded.model, [LENGTH]), round(prepared.train.learnt / len(prepared.train) * EXAMPLES)
    assert effort is not None
    found = {
        "name": run.name,
        "tokens_per_s": round(tokens / seconds, 1),
        "share": round(effort.share(tokens, learnt, seconds, loaded.speeds["bfloat16"]) or 0, 4),
        "matmul": loaded.speeds["bfloat16"],
        "peak_gb": round(peak_bytes(loaded.device.name) / 1e9, 3),
        "losses": [round(loss, 4) for loss in clock.losses],
        "grad_norms": [round(norm, 4) for norm in clock.grad_norms],
        "seconds": [round(value, 3) for value in clock.seconds],
    }
    if isinstance(tuner.data_collator, StepCollator):
        bytes_ = forecast(task, tuner.data_collator.budget)
        found |= {"forecast_gb": round(bytes_ / 1e9, 3), "error": round(bytes_ / peak_bytes(loaded.device.name) - 1, 4)}
        found |= {"budget": tuner.data_collator.budget, "quick": tuner.quick}
    return found


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object (it always does)")
    parser.add_argument("--only", action="append", default=[], help="contenders with this name")
    parser.add_argument("--work", type=Path, help="where models are kept; else a temporary folder")
    parser.add_argument("--make", help="for its own children")
    parser.add_argument("--one", help="for its own children")
    asked = parser.parse_args()
    if asked.make:
        return make(asked.make, asked.work / asked.make, LENGTH, "cuda")
    if asked.one:
        run = next(run for run in RUNS if run.name == asked.one)
        with tempfile.TemporaryDirectory() as folder:
            print("\n" + json.dumps(one(run, asked.work / run.model, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps([_child(run, asked.work or Path(folder)) for run in RUNS
                          if not asked.only or run.name in asked.only]))  # fmt: skip


def _child(run: Run, work: Path) -> dict[str, Any]:
    call = [sys.executable, "-m", "tests.bench.accelerator", "--work", str(work)]
    if not (work / run.model).exists():
        subprocess.run([*call, "--make", run.model], check=True)
    environment = {**os.environ, "PYTORCH_ALLOC_CONF": CUDA_MEMORY}  # as a trainer sets it
    done = subprocess.run([*call, "--one", run.name], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.stderr.write(done.stderr[-1500:])
        return {"name": run.name, "problem": done.stderr.strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    sys.stderr.write(json.dumps(found) + "\n")
    return found


if __name__ == "__main__":
    main()
