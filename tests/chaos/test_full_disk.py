"""A real small disk that fills up while runs are at work: nothing is lost, and they go on once there is room."""

import random
from pathlib import Path

import pytest

from studio.core.disk import ballast_path
from studio.core.states import ENDED
from tests.chaos.judge import Findings, judge, judge_records
from tests.chaos.rounds import TRAINING
from tests.chaos.stage import Stage
from tests.chaos.standin import STEPS
from tests.integration.mounts import fill, small_disk
from tests.integration.tiny import make_tiny_model
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FLOOR = 4_000_000


def is_at(stage: Stage, name: str, step: int) -> bool:
    """Whether the run has come to that step, or further."""
    run = stage.named(name)[0]
    return run.step >= step or run.state in ENDED


def is_told(stage: Stage, name: str) -> bool:
    """Whether the run's row says that the disk is full, or the run got through without."""
    run = stage.named(name)[0]
    return run.reason == "disk_full" or run.state in ENDED


def test_runs_wait_out_a_full_disk_and_go_on(tmp_path: Path) -> None:
    rng, found = random.Random(0), Findings()
    with small_disk(tmp_path / "disk", 48) as disk:
        model = make_tiny_model(tmp_path / "model")
        # A history on the full disk loses half of a line, and the failpoint itself finds no room then.
        stage = Stage(disk, "standin", model, dict(TRAINING), floor=FLOOR, beside=tmp_path)
        try:
            stage.start()
            for name in ("first", "second", "third"):
                # What was given up for the last one is made again by the sweep; without it nothing can be told.
                wait_until(ballast_path(stage.settings).is_file, 30)
                assert stage.submit(name, name)
                wait_until(lambda name=name: stage.named(name)[0].claim > 0, 30, 0.02)  # type: ignore[misc]
                step = rng.randrange(STEPS)
                wait_until(lambda name=name, step=step: is_at(stage, name, step), 30, 0.02)  # type: ignore[misc]
                filler = fill(disk, rng.choice((0, 4096, 100_000)))
                wait_until(lambda name=name: is_told(stage, name), 30)  # type: ignore[misc]
                assert stage.worker is not None and stage.worker.poll() is None
                filler.unlink()
                wait_until(lambda name=name: stage.named(name)[0].state in ENDED, 60)  # type: ignore[misc]
                assert stage.named(name)[0].state == "succeeded", stage.named(name)[0].problem
            names = ("first", "second", "third")
            found.add(judge(stage, names, names, stage.history()[0]))
            judge_records(stage.services, found)
        finally:
            stage.close()
    assert found.all == []
