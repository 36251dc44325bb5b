"""`python -m tests.bench.accelerator --json [--only NAME]`: training on an accelerator, sequences of 4,096 tokens.

Models of random weights in the shapes of Llama 3 8B and Qwen 2.5 0.5B, LoRA r = 16 on all linear layers over bfloat16
and over NF4, by Tunesmith's path and by TRL's own (tuned: bfloat16, no activation checkpointing, which is on where it
would not fit). Each contender is a process of its own. It prints tokens per second, the share of the matrix speed
measured in the same process (4N + 3A operations a token), the peak of memory, and what the forecast said of it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from studio.core.estimate.memory import Load, memory
from studio.core.estimate.terms import Shape
from studio.core.tokenizer import load_chat
from tests.bench.memory_runs import Run, data
from tests.bench.training_child import Clock
from tests.integration.tiny import make_tokenizer
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
SHAPES: dict[str, dict[str, Any]] = {
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False},
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
}  # fmt: skip


@dataclass(frozen=True)
class Contender:
    """One row: a model, and the parts of the config that differ."""

    name: str
    model: str
    base: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


NF4 = {"quantization": "nf4"}
TRL: dict[str, Any] = {"path": "trl", "per_device_train_batch_size": 1, "gradient_accumulation_steps": EXAMPLES}
CONTENDERS = (
    Contender("0.5b lora", "0.5b"),
    Contender("0.5b nf4", "0.5b", NF4),
    Contender("0.5b lora trl", "0.5b", {}, {**TRL, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}),
    Contender("8b lora", "8b", {}, {"micro_batch_tokens": LENGTH}),
    Contender("8b nf4", "8b", NF4, {"micro_batch_tokens": 2 * LENGTH}),
    Contender("8b lora trl", "8b", {}, TRL),
    Contender("8b nf4 trl", "8b", NF4, TRL),
)


def make(name: str, folder: Path) -> None:
    """A model of random weights, drawn on the accelerator."""
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = LENGTH
    kind = Qwen2Config if name == "0.5b" else LlamaConfig
    config = kind(**SHAPES[name], max_position_embeddings=LENGTH, eos_token_id=tokenizer.eos_token_id, dtype="bfloat16")
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, safe_serialization=True, max_shard_size="4GB")
    tokenizer.save_pretrained(folder)


def task_of(contender: Contender, folder: Path, out: Path) -> Job:
    """The run on its data, of which every example is cut to the same length."""
    run = Run(contender.name, contender.model, LENGTH, EXAMPLES)
    training = {"per_device_train_batch_size": EXAMPLES, "max_steps": STEPS, "max_length": LENGTH, "warmup_steps": 0,
                "eval_steps": 1000, "logging_steps": 1} | contender.training  # fmt: skip
    base = {"dtype": "bfloat16"} | contender.base
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


def one(contender: Contender, folder: Path, out: Path) -> dict[str, Any]:
    """The child: load, train some steps, say how it went."""
    task = task_of(contender, folder, out)
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
        "name": contender.name,
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
        return make(asked.make, asked.work / asked.make)
    if asked.one:
        contender = next(one for one in CONTENDERS if one.name == asked.one)
        with tempfile.TemporaryDirectory() as folder:
            print("\n" + json.dumps(one(contender, asked.work / contender.model, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps([_child(contender, asked.work or Path(folder)) for contender in CONTENDERS
                          if not asked.only or contender.name in asked.only]))  # fmt: skip


def _child(contender: Contender, work: Path) -> dict[str, Any]:
    call = [sys.executable, "-m", "tests.bench.accelerator", "--work", str(work)]
    if not (work / contender.model).exists():
        subprocess.run([*call, "--make", contender.model], check=True)
    environment = {**os.environ, "PYTORCH_ALLOC_CONF": CUDA_MEMORY}  # as a trainer sets it
    done = subprocess.run(
        [*call, "--one", contender.name], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        sys.stderr.write(done.stderr[-1500:])
        return {"name": contender.name, "problem": done.stderr.strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    sys.stderr.write(json.dumps(found) + "\n")
    return found


if __name__ == "__main__":
    main()
