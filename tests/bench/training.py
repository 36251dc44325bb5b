"""`python -m tests.bench.training --json`: non-padding tokens per second of stock TRL, tuned TRL and Tunesmith in turn.

Each contender is a process of its own, in every round, on the same examples: the starter model, LoRA r = 16 on all
linear layers, 16 examples a step. `stock_trl` is `SFTTrainer` as it comes; `tuned_trl` has the fastest number format,
no activation checkpointing and batches grouped by length. Without fast bf16 both get `bf16=False`, or take hours.
The gates compare Tunesmith's losses in float32 with its reference path (TRL's loop, float32, the same steps), and its
last check, as it was timed, with the reference's.
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

from studio.core.machine import processor_name
from studio.core.settings import Settings
from studio.core.starter import fetch
from worker.supervise import TRAINER

CONTENDERS = ("stock_trl", "tuned_trl", "tunesmith")
SHAPES = ("even", "ragged")
NEEDED = {True: {"even": (2.0, 1.6), "ragged": (3.0, 1.8)}, False: {"even": (2.0, 1.5), "ragged": (5.0, 3.5)}}


def child(contender: str, model: Path) -> dict[str, Any]:
    """What one process measured."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    if contender == "tunesmith":  # as the supervisor starts a trainer
        environment |= {**TRAINER, "GOMP_SPINCOUNT": "1000"}
    command = [sys.executable, "-m", "tests.bench.training_child", contender, str(model)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-3000:])
        raise SystemExit(f"{contender} failed")
    sys.stderr.write(f"{contender}: {done.stdout.splitlines()[-1][:300]}\n")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def gates(ours: dict[str, Any], exact: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Whether Tunesmith learnt what the reference did: every step's loss, the last check, and that it learnt at all."""
    found: dict[str, Any] = {}
    for shape in SHAPES:
        one, other = ours[shape], reference[shape]
        worst = max(abs(a - b) / b for a, b in zip(exact[shape]["losses"], other["losses"], strict=True))
        found[shape] = {
            "gradients": min(one["grad_norms"]) > 0,
            "worst_step": round(worst, 5),
            "eval": [round(one["eval"], 4), round(other["eval"], 4)],
            "passed": min(one["grad_norms"]) > 0 and worst < 0.01 and one["eval"] <= 1.01 * other["eval"],
        }
    return found


def measure(model: Path, rounds: int) -> dict[str, Any]:
    """All rounds, then the reference."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            runs[name].append(child(name, model))
    speeds = runs["tunesmith"][0]["matmul"]
    result: dict[str, Any] = {"processor": processor_name(), "matmul": speeds, "rounds": rounds}
    needed = NEEDED[speeds["bfloat16"] > speeds["float32"]]
    for shape in SHAPES:
        medians = {name: statistics.median(run[shape]["tokens_per_s"] for run in runs[name]) for name in CONTENDERS}
        ratios = [round(medians["tunesmith"] / medians[name], 3) for name in CONTENDERS[:2]]
        result[shape] = {
            **{name: round(value, 1) for name, value in medians.items()},
            "to_stock": ratios[0],
            "to_tuned": ratios[1],
            "needed": list(needed[shape]),
            "reached": ratios[0] >= needed[shape][0] and ratios[1] >= needed[shape][1],
            "all": {name: [round(run[shape]["tokens_per_s"], 1) for run in runs[name]] for name in CONTENDERS},
        }
    result["peak_rss_mb"] = {name: max(run["peak_rss_mb"] for run in runs[name]) for name in CONTENDERS}
    result["gates"] = gates(runs["tunesmith"][-1], child("exact", model), child("reference", model))
    return result


def main() -> None:
    """Parse, fetch the starter model where it is not here, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object (it always does)")
    parser.add_argument("--model", type=Path, help="a model folder; else the starter model")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    model = asked.model
    if model is None:
        settings = Settings(data_dir=Path(os.environ.get("TUNESMITH_DATA_DIR", tempfile.gettempdir() + "/bench-data")))
        for folder in (settings.models_dir, settings.locks_dir):
            folder.mkdir(parents=True, exist_ok=True)
        model = fetch(settings)
    result = measure(model, asked.rounds)
    sys.stdout.write(json.dumps(result) + "\n")
    raise SystemExit(0 if all(gate["passed"] for gate in result["gates"].values()) else 1)


if __name__ == "__main__":
    main()
