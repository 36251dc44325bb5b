"""`python -m tests.bench.memory --json [--only NAME]`: the peak of memory of whole runs, forecast and measured.

Each run is a fresh process that goes through the trainer's own phases; measured is its VmHWM less the value it had
before the model was loaded, as `result.json` holds it. The forecast is made before, by what the page asks: a dry run on
the meta device, and arithmetic. What was measured stands in README.md beside this file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from studio.core.machine import processor_name
from tests.bench.memory_runs import RUNS, Run, models
from worker.supervise import TRAINER


def measure(names: list[str], work: Path, starter: Path) -> list[dict[str, Any]]:
    """Forecast and measured bytes of each run, in processes of their own."""
    folders = models(work, starter)
    found = []
    for run in RUNS:
        if not names or any(name in run.name for name in names):
            found.append(one(run, folders[run.model], work))
            sys.stderr.write(line(found[-1]) + "\n" + json.dumps(found[-1]) + "\n")
    return found


def one(run: Run, folder: Path, work: Path) -> dict[str, Any]:
    """One run's forecast and measurement."""
    forecast, measured = (_child(step, run, folder, work) for step in ("forecast", "measure"))
    error = forecast["total"] / measured["used"] - 1
    return {"name": run.name, "forecast": forecast, "measured": measured["used"], "error": round(error, 4),
            "seconds": measured["seconds"]}  # fmt: skip


def _child(step: str, run: Run, folder: Path, work: Path) -> dict[str, Any]:
    order = [sys.executable, "-m", "tests.bench.memory_runs", step, run.name, str(folder), str(work)]
    environment = {**TRAINER, **os.environ}  # as the supervisor starts a trainer
    done = subprocess.run(order, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{run.name}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    forecast, measured = row["forecast"]["total"] / 1e6, row["measured"] / 1e6
    return f"| {row['name']} | {forecast:,.0f} | {measured:,.0f} | {row['error']:+.1%} |"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="runs whose name holds this")
    parser.add_argument("--starter", type=Path, required=True, help="a folder with the starter model")
    parser.add_argument("--json", action="store_true", help="print one JSON object (it always does)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(asked.only, Path(folder), asked.starter)
    worst = {"under": min(row["error"] for row in rows), "over": max(row["error"] for row in rows)}
    sys.stdout.write(json.dumps({"processor": processor_name(), "runs": rows, "worst": worst}) + "\n")


if __name__ == "__main__":
    main()
