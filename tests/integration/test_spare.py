"""The spare trainer: a run that it takes is like every other, and one that it can not take loses nothing."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.core.locks import is_held
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from tests.integration.records import add_run
from tests.waiting import wait_until
from worker import spare as spares
from worker.spare import SpareKeeper
from worker.supervise import Supervisor, trainer_environment

ODD = str(Path(__file__).with_name("spare_trainer.py"))
ROOT = Path(__file__).parents[2]
Keep = Callable[..., SpareKeeper]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose trainers find the sources and never want for disk."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Settings(data_dir=tmp_path / "data", disk_floor_bytes=0)


@pytest.fixture
def keep(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keep]:
    """`keep(mode)` sends a keeper of such spares to work."""
    monkeypatch.setattr(spares, "LOOK_SECONDS", 0.05)
    begun: list[SpareKeeper] = []

    def one(mode: str = "good", floor: int = 0, wanted: Callable[[], bool] = lambda: True) -> SpareKeeper:
        keeper = SpareKeeper(lambda: trainer_environment(settings), wanted, floor)
        keeper.command = (sys.executable, ODD, mode)
        keeper.start()
        begun.append(keeper)
        return keeper

    yield one
    for keeper in begun:
        keeper.stop()
        keeper.join(10)
        assert not keeper.is_alive()


def train(services: Services, keeper: SpareKeeper | None) -> dict[str, Any]:
    """One run, dispatched to its end; gives what its trainer saw."""
    run = add_run(services)
    supervisor = Supervisor(services.settings, services.db, threading.Event())
    supervisor.trainer, supervisor.spares = (sys.executable, ODD, "trainer"), keeper
    supervisor.dispatch()
    seen: dict[str, Any] = json.loads((services.artifacts.run_dir(run.id) / "seen.json").read_text())
    return seen | {"row": services.runs.get(run.id, LOCAL_USER), "log": services.artifacts.log_path(run.id).read_text()}


def pid_of(keeper: SpareKeeper) -> int:
    """The process in reserve, once it is ready."""
    wait_until(keeper.is_ready, 20)
    assert keeper._spare is not None
    return keeper._spare.process.pid


def told(seen: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for every trainer, with the run's id left out."""
    row: Run = seen["row"]
    text = json.dumps({key: value for key, value in seen.items() if key != "row"}).replace(row.id, "RUN")
    return {"seen": json.loads(text), "row": (row.state, row.reason, row.problem, row.claim, row.attempts)}


def test_a_run_can_not_tell_a_spare_trainer_from_a_fresh_one(services: Services, keep: Keep) -> None:
    keeper = keep()
    pid = pid_of(keeper)
    spare, fresh = train(services, keeper), train(services, None)
    assert spare["row"].pid == pid and fresh["row"].pid != pid
    assert told(spare) == told(fresh)
    assert spare["locks"] == ["gpu-0.lock", "run.lock"] and spare["log"] == "a word for the log\n"
    assert not is_held(services.artifacts.run_lock(spare["row"].id))


@pytest.mark.parametrize("mode", ["dies", "deaf"])
def test_a_spare_that_does_not_answer_costs_the_run_nothing(
    services: Services, keep: Keep, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares, "ANSWER_SECONDS", 0.5)
    keeper = keep(mode)
    pid = pid_of(keeper)
    row = train(services, keeper)["row"]
    assert (row.claim, row.attempts, row.reason) == (1, 1, "protocol_error")  # of the fresh one's exit code, 3
    assert row.pid != pid and not psutil.pid_exists(pid)


def test_a_spare_holds_no_lock_and_a_killed_one_is_replaced(services: Services, keep: Keep) -> None:
    keeper = keep()
    first = pid_of(keeper)
    assert not [file for file in psutil.Process(first).open_files() if file.path.endswith(".lock")]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(first), 10)
    second = pid_of(keeper)
    assert second != first and train(services, keeper)["row"].pid == second


@pytest.mark.parametrize("change", ["environment", "code"])
def test_a_spare_of_other_settings_or_older_code_is_never_given_a_run(
    services: Services, keep: Keep, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    keeper = keep(wanted=iter([True]).__next__)  # one is started, and no other after it
    pid = pid_of(keeper)
    if change == "environment":
        monkeypatch.setenv("HF_ENDPOINT", "http://localhost:1")
    else:
        monkeypatch.setattr(spares, "version", lambda name: "2.0.0")
    assert train(services, keeper)["row"].pid != pid
    assert not psutil.pid_exists(pid)


def test_no_spare_is_kept_where_memory_is_short(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [10]
    monkeypatch.setattr(spares.cgroup, "free_memory", lambda: free[0])
    keeper = keep(floor=10)
    pid = pid_of(keeper)
    free[0] = 9
    wait_until(lambda: not psutil.pid_exists(pid), 10)
    assert not keeper.is_ready()


def test_a_spare_that_can_not_start_is_tried_ever_more_seldom(keep: Keep) -> None:
    keeper = keep("broken")
    wait_until(lambda: keeper._pause >= 4 * spares.LOOK_SECONDS, 20)
    assert keeper._not_before > 0


def test_the_machine_has_time_for_a_spare_only_beside_no_run_that_starts(services: Services) -> None:
    supervisor = Supervisor(services.settings, services.db, threading.Event())
    assert supervisor.has_time_for_spare()
    first, _ = add_run(services), add_run(services)
    assert not supervisor.has_time_for_spare()  # it is about to start
    supervisor._watched.add(first.id)
    assert not supervisor.has_time_for_spare()  # it is starting
