"""Runs in every state without any training: rows, metrics, events, results, logs and a stand-in for an adapter.

For looking at pages and for the browser tests. `python -m tests.browser.seed DATA_DIR` fills a data dir by hand.
"""

import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.alarms import alarms
from studio.core.artifacts import new_id, write_whole
from studio.core.config import parse_config
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.states import LIVE, State
from studio.core.stores.claims import Claimed, claim_run
from studio.core.stores.datasets import DatasetVersion, NewDataset
from studio.core.stores.runs import Event, NewRun, Run
from studio.core.stores.series import Sample
from studio.core.stores.users import LOCAL_USER
from studio.core.tables import run_events, runs

HOSTILE = "<img src=x onerror=alert(1)> & “quotes”"
GIB = 1024**3
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
ANSWERS = [
    {
        "asked": "Two flat whites and a bagel for Mia, paying by card.",
        "reference": '{"items": [{"name": "flat white", "count": 2}, {"name": "bagel", "count": 1}], "for": "Mia"}',
        "base": "Sure! Here is your order: two flat whites and one bagel.",
        "tuned": '{"items": [{"name": "flat white", "count": 2}, {"name": "bagel", "count": 1}], "for": "Mia"}',
    },
    {
        "asked": "Three espressos <b>for</b> Ada.",
        "reference": '{"items": [{"name": "espresso", "count": 3}], "for": "Ada", "pay": null}',
        "base": "",
        "tuned": '{"items": [{"name": "espresso", "count": 2}], "for": "Ada", "pay": null}',
    },
]


@dataclass(frozen=True)
class Wish:
    """A run to be made: where it stands (`step` of `steps`), when it began and how long it took, in seconds."""

    name: str
    state: State
    step: int = 0
    steps: int = 90
    ago: float = 0.0
    took: float = 420.0
    reason: str | None = None
    problem: str | None = None
    remedy: str | None = None
    answers: bool = False
    checkpoint: int = 0
    seconds: float | None = 420.0
    overfits: bool = False


WISHES = (
    Wish("orders-json", "succeeded", 90, 90, 7200, 204, answers=True),
    Wish("faq-bot", "succeeded", 400, 400, 3 * 86400, 571),
    Wish(
        "legal-first-try", "failed", 41, 400, 12000, 188, "out_of_memory",
        "Out of memory at step 41 of 400.", "Set Examples at once to 4 and Batches per step to 2.",
    ),
    Wish("haiku", "stopped", 60, 300, 80000, 370, "asked", "Stopped by you. The adapter so far is kept."),
    Wish(
        "tickets-small", "interrupted", 120, 400, 90000, 724, "killed",
        "The training process was ended.", "It goes on by itself.", checkpoint=100,
    ),
    Wish("support-tone", "running", 56, 90, 260, checkpoint=50),
    Wish("recipes-fr", "queued"),
    Wish(HOSTILE, "queued"),
)  # fmt: skip


def seed(services: Services, wishes: tuple[Wish, ...] = WISHES) -> dict[str, Run]:
    """One run for each wish, by name, in the order of `wishes`; the machine and its worker are there too."""
    see_machine(services)
    dataset = add_dataset(services)
    return {wish.name: make(services, wish, dataset) for wish in wishes}


def see_machine(services: Services, ahead: float = 86400.0) -> None:
    """A worker that counts as seen for `ahead` seconds (a seeded studio has no real one)."""
    speeds = {"float32": 178.0, "bfloat16": 1.3, "float16": 1.2}
    facts = {"matmul": speeds, "processor": "AMD EPYC 9R14", "cores": 2, "memory": 16 * GIB, "dtype": "float32"}
    services.machines.report("seeded", new_id(), facts)
    with services.db.write() as connection:
        connection.exec_driver_sql("UPDATE machines SET seen_at = ?", (time.time() + ahead,))


def add_dataset(services: Services, name: str = "orders.jsonl") -> DatasetVersion:
    """A dataset's row, without files."""
    mapping = {"prompt": "spoken", "completion": "order_json", "system": "system"}
    report = {"container": "jsonl", "encoding": "utf-8", "rows": 420, "kept": 420, "held_out": 60, "left_out": []}
    return services.datasets.add(NewDataset(LOCAL_USER, new_id(), name, name, "a" * 64, mapping, report, 360, 60))


def make(services: Services, wish: Wish, dataset: DatasetVersion) -> Run:
    """One run as wished, with all that a real one would have left."""
    config = parse_config({"training": {"num_train_epochs": 3, "predict_with_generate": wish.answers}}).model_dump()
    run = services.runs.add(new_run(wish, config, dataset))
    if wish.state != "queued":
        train(services, run, wish)
        end(services, run, wish)
        shift(services, run.id, wish)
    return services.runs.get(run.id, LOCAL_USER)


def new_run(wish: Wish, config: dict[str, Any], dataset: DatasetVersion) -> NewRun:
    """The row that Start makes."""
    return NewRun(LOCAL_USER, wish.name, config, BASE, REVISION, dataset.id, expected_seconds=wish.seconds)


def train(services: Services, run: Run, wish: Wish) -> None:
    """Claim it and write what a trainer writes until `wish.step`."""
    claim = claim_run(services.db, run.id, {"host": "seeded", "worker_id": new_id()})
    assert claim is not None
    pen = Claimed(services.db, run.id, claim)
    pen.spec(spec())
    write_whole(services.artifacts.log_path(run.id), log_bytes(services, wish).encode())
    if wish.state == "starting":
        return
    pen.move("running", "First step", "9.1 s after the start")
    pen.metrics(points(wish))
    for step in (0, *range(wish.steps // 10, wish.step + 1, max(1, wish.steps // 10))):
        pen.samples(step, samples(step / wish.steps))
    series = {name: [(s, v) for s, n, v in points(wish) if n == name] for name in ("loss", "eval_loss", "grad_norm")}
    for one in alarms(series, wish.steps):
        pen.alarm(one.kind, one.title, one.text)
    pen.progress(wish.step, wish.steps)
    if wish.checkpoint:
        pen.checkpoint(wish.checkpoint)
        write_whole(services.artifacts.checkpoints_dir(run.id) / "stand-in", b"0" * 180_000)
    if wish.step >= 40:
        pen.event("eval", "Checked, step 40", "Held-out loss 1.21, the best so far")


def end(services: Services, run: Run, wish: Wish) -> None:
    """Bring it to its state, with the columns and the files of it."""
    run = services.runs.get(run.id, LOCAL_USER)
    columns: dict[str, Any] = {"reason": wish.reason, "problem": wish.problem, "remedy": wish.remedy}
    if wish.state in ("succeeded", "stopped"):
        columns["result"] = result(wish)
        write_whole(services.artifacts.adapter_dir(run.id) / "adapter_model.safetensors", b"stand-in")
    for state in way(run.state, wish.state):
        more = columns | {"ended_at": time.time()} if state == wish.state and state not in LIVE else {}
        assert services.runs.move(run, state, Event(time.time(), state, state.capitalize(), wish.problem or ""), **more)
        run = services.runs.get(run.id, LOCAL_USER)


def way(old: State, new: State) -> list[State]:
    """The states between where the trainer left a run and where it is wished."""
    before: dict[State, list[State]] = {"succeeded": ["finalizing"], "stopped": ["stopping"]}
    return [] if old == new else [*before.get(new, []), new]


def shift(services: Services, run_id: str, wish: Wish) -> None:
    """Move its times into the past."""
    began = time.time() - wish.ago
    ended = None if wish.state in LIVE else began + wish.took
    values = {"created_at": began - 4, "started_at": began, "first_step_at": began + 9, "ended_at": ended}
    with services.db.write() as connection:
        connection.execute(runs.update().where(runs.c.id == run_id).values(**values))
        connection.execute(run_events.update().where(run_events.c.run_id == run_id).values(at=ended or began))


def points(wish: Wish) -> list[tuple[int, str, float]]:
    """Curves as training gives them: a noisy loss, a calmer one on the held-out part, speeds, memory.

    A wish with `overfits` learns by heart from the middle on.
    """
    rng, out = random.Random(wish.name), [(0, "eval_loss", 2.41)]
    for step in range(1, wish.step + 1):
        fall = math.exp(-step / (wish.steps / 6))
        rate = 2e-4 * min(1.0, step / (wish.steps / 20)) * (1 - step / wish.steps / 1.02)
        speed = 180 + 8 * math.sin(step / 9) + 6 * math.sin(step / 3.1)
        values = {
            "loss": 0.34 + 2.1 * fall + rng.gauss(0, 0.09) * (0.5 + fall),
            "learning_rate": rate,
            "tokens_per_s": speed,
            "learnt_tokens_per_s": speed * (0.36 + rng.gauss(0, 0.02)),
            "mean_token_accuracy": 0.93 - 0.45 * fall + rng.gauss(0, 0.02) * (0.5 + fall),
            "grad_norm": 0.5 + 1.9 * fall + abs(rng.gauss(0, 0.15)),
            "matmul_share": speed / 420,
            "padding_share": abs(rng.gauss(0.04, 0.02)),
            "data_wait_share": abs(rng.gauss(0.002, 0.001)),
            "memory_bytes": (1.42 + 0.02 * math.sin(step / 7)) * GIB,
            "epoch": 3 * step / wish.steps,
        }
        out += [(step, name, value) for name, value in values.items()]
        if step % max(1, wish.steps // 10) == 0:
            late = max(0.0, step / wish.steps - 0.4) if wish.overfits else 0.0
            out.append((step, "eval_loss", 0.52 + 1.8 * fall + late))
    return out


def samples(share: float) -> list[Sample]:
    """What a model answers that is so far on its way."""
    said = [
        "Sure! Here is your order: two flat whites and one bagel.",
        '{"order": ["flat white", "flat white", "bagel"]}',
        '{"items": [{"name": "flat white", "count": 2}], "for": "Mia"}',
        str(ANSWERS[0]["reference"]),
    ]
    other = ["I'd be happy to help! <b>Three</b> espressos coming right up.", str(ANSWERS[1]["tuned"])]
    first, second = said[min(3, int(share * 6))], other[share > 0.3]
    return [
        Sample(str(entry["asked"]), str(entry["reference"]), text)
        for entry, text in zip(ANSWERS, (first, second), strict=True)
    ]


def spec() -> dict[str, Any]:
    """What a trainer notes of itself."""
    return {
        "libraries": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0", "peft": "0.21.2"},
        "dataset_sha256": "a" * 64,
        "model": {"repo": BASE, "revision": REVISION, "source": "wheel"},
        "dtype": "float32",
        "device": "Processor, 2 cores",
        "threads": 2,
        "seed": 42,
        "examples": 360,
        "held_out": 60,
        "tokens": 36_000,
        "learnt_tokens": 13_000,
    }


def result(wish: Wish) -> dict[str, Any]:
    """What a trainer proves at the end."""
    base, tuned = {"loss": 1.92, "exact_match": None}, {"loss": 0.41, "exact_match": None}
    more: dict[str, Any] = {}
    if wish.answers:
        base["exact_match"], tuned["exact_match"], more = 0.0167, 0.9333, {"answers": ANSWERS}
    return {
        "steps": wish.step, "supervised_tokens": 26000, "changed_tensors": 420, "tensors": 420, "base": base,
        "tuned": tuned, "examples": 360, "held_out": 60, "seconds": wish.took, "peak_rss_mb": 1650, "dtype": "float32",
        **more,
    }  # fmt: skip


def log_bytes(services: Services, wish: Wish) -> str:
    """A log with colours, a bell and a path, as libraries write it."""
    lines = [f"\x1b[32m14:18:{i % 60:02d}\x1b[0m step {i} loss 0.4{i % 10}\x07" for i in range(1, 61)]
    return "\n".join([*lines, f"reading {services.settings.data_dir.resolve()}/models/starter", f"{wish.name} goes on"])


if __name__ == "__main__":
    opened = open_services(Settings(data_dir=Path(sys.argv[1])))
    for name, made in seed(opened).items():
        sys.stdout.write(f"{made.state:12} {made.id} {name}\n")
