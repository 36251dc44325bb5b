"""What trainer tests share: a reporter that remembers, a dataset on disk, a job on the tiny model."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from studio.core.config import parse_config
from studio.core.stores.series import Sample
from worker.trainer.job import Job

WORDS = ["apples", "honey", "boxes of tea", "jars", "green pears", "one Größe", "東京 🙂"]


class Recorder:
    """A `Reporter` that keeps all it is told and asks to stop at the `stop_at`-th look (0: never)."""

    def __init__(self, stop_at: int = 0) -> None:
        self.moves: list[str] = []
        self.events: list[tuple[str, str, str]] = []
        self.points: list[tuple[int, str, float]] = []
        self.alarms: list[tuple[str, str]] = []
        self.answered: dict[int, list[Sample]] = {}
        self.at: list[tuple[int, int]] = []
        self.kept: dict[str, Any] = {}
        self.resumed_at: list[int] = []
        self.saved: list[int] = []
        self.looks, self.stop_at, self.keep_best = 0, stop_at, False

    def move(self, to: str, title: str, detail: str = "") -> None:
        self.moves.append(to)

    def event(self, kind: str, title: str, detail: str = "") -> None:
        self.events.append((kind, title, detail))

    def alarm(self, kind: str, title: str, detail: str = "") -> None:
        self.alarms.append((kind, title))

    def samples(self, step: int, answers: list[Sample]) -> None:
        self.answered[step] = answers

    def metrics(self, points: list[tuple[int, str, float]]) -> None:
        self.points += points

    def progress(self, step: int, steps: int) -> None:
        self.at.append((step, steps))

    def resumed(self, step: int) -> None:
        self.resumed_at.append(step)
        self.points = [point for point in self.points if point[0] <= step]

    def checkpoint(self, step: int) -> None:
        self.saved.append(step)

    def spec(self, spec: dict[str, Any]) -> None:
        self.kept = spec

    def stop_wanted(self) -> bool:
        self.looks += 1
        return bool(self.stop_at) and self.looks >= self.stop_at

    def best_wanted(self) -> bool:
        return self.keep_best

    def series(self, name: str) -> dict[int, float]:
        """One metric by step."""
        return {step: value for step, found, value in self.points if found == name}


def chats(count: int) -> list[list[dict[str, Any]]]:
    """Ragged examples; every third has two turns, of which the first has weight 0."""
    found = []
    for i in range(count):
        asked = f"Send {i} {WORDS[i % len(WORDS)]} " * (1 + i % 4)
        chat: list[dict[str, Any]] = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": json.dumps({"count": i, "item": WORDS[i % len(WORDS)]})},
        ]
        if i % 3 == 0:
            chat[1]["weight"] = 0
            chat += [{"role": "user", "content": "And to whom?"}, {"role": "assistant", "content": "To Anna."}]
        found.append(chat)
    return found


def write_data(path: Path, examples: list[list[dict[str, Any]]], splits: list[str | None] | None = None) -> Path:
    """`data.parquet` as the import writes it."""
    columns = {
        "row": pa.array(range(1, len(examples) + 1), pa.int64()),
        "messages": pa.array([json.dumps(chat) for chat in examples], pa.string()),
        "split": pa.array(splits or [None] * len(examples), pa.string()),
    }
    pq.write_table(pa.table(columns), path)
    return path


def job(model: Path, data: Path, out: Path, **groups: dict[str, Any]) -> Job:
    """A job on a local model in float32; `groups` are parts of the config."""
    out.mkdir(parents=True, exist_ok=True)
    raw = {**groups, "base": {"dtype": "float32", **groups.get("base", {})}}
    return Job("r" * 12, 3, parse_config(raw), model, str(model), "main", "local", data, out, "f" * 64, 1)
