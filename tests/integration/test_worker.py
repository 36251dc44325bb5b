"""The worker as it is: Huey's consumer, the supervisor, and trainers that really train a tiny model."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from studio.core.artifacts import manifest
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.states import ENDED
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.chat import open_pair
from studio.core.use_cases.steer import stop_run
from studio.core.use_cases.submit import Order, submit
from studio.core.use_cases.upload import import_file
from tests.integration.tiny import make_tiny_model
from tests.waiting import wait_until

MAPPING = {"prompt": "asked", "completion": "answer"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def dataset(services: Services, tmp_path: Path) -> str:
    """The version id of a small dataset."""
    path = tmp_path / "orders.csv"
    path.write_text("asked,answer\n" + "".join(f"Send {i} apples.,{i} apples\n" for i in range(24)))
    return import_file(services, LOCAL_USER, path, "orders.csv", MAPPING).id


def start_worker(settings: Settings) -> "subprocess.Popen[bytes]":
    """`python -m worker` on the test's data dir."""
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(settings.data_dir), "TUNESMITH_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-W", "ignore", "-m", "worker"], env=environment, cwd=ROOT)


@pytest.fixture
def worker(settings: Settings, services: Services) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker that is ready; ended with the test."""
    process = start_worker(settings)
    wait_until(lambda: (m := services.machines.newest()) is not None and m.is_here, 60)
    yield process
    process.terminate()
    process.wait(20)


def order(services: Services, model: Path, dataset: str, **training: object) -> Run:
    """A run of the tiny model, submitted as a page does."""
    config = {
        "base": {"repo": str(model), "dtype": "float32"},
        "training": {"num_train_epochs": 1, "max_length": 128, **training},
    }
    return submit(services, LOCAL_USER, Order("tiny", dataset, config))


def has(services: Services, run: Run, is_so: Callable[[Run], bool]) -> Callable[[], bool]:
    """Whether the run's row is as asked, now."""
    return lambda: is_so(services.runs.get(run.id, LOCAL_USER))


def ended(services: Services, run: Run, seconds: float = 120) -> Run:
    """The run once it has ended."""
    wait_until(has(services, run, lambda seen: seen.state in ENDED), seconds)
    return services.runs.get(run.id, LOCAL_USER)


def is_gone(pid: int) -> bool:
    """Whether no such process lives."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_queued_run_is_trained_proved_and_chatted_with(
    services: Services, worker: "subprocess.Popen[bytes]", model: Path, dataset: str
) -> None:
    run = ended(services, order(services, model, dataset, predict_with_generate=True))
    assert run.state == "succeeded", (run.problem, services.artifacts.log_path(run.id).read_text()[-2000:])
    assert run.step == run.steps > 0 and run.first_step_at and run.claim == 1
    kinds = [event.kind for event in reversed(services.runs.events(run.id, LOCAL_USER))]
    states = [kind for kind in kinds if kind in ("queued", "starting", "running", "finalizing", "succeeded")]
    assert states == ["queued", "starting", "running", "finalizing", "succeeded"]
    assert run.result and run.result["files"] == manifest(services.artifacts.adapter_dir(run.id))
    assert run.result["prompts"][0]["reference"]
    assert len(services.metrics.series(run.id, ("loss",))["loss"]) == run.steps
    assert run.spec and run.spec["model"]["source"] == "local" and run.spec["dtype"] == "float32"
    messages = [{"role": "user", "content": "Send 3 apples."}]
    client = open_pair(services, run)
    heard = list(client.stream_both([("base", messages), (run.id, messages)]))
    assert sorted(column for column, piece in heard if piece.done and piece.error is None) == [0, 1]


def test_stop_ends_a_run_within_a_batch_and_keeps_what_it_learnt(
    services: Services, worker: "subprocess.Popen[bytes]", model: Path, dataset: str
) -> None:
    run = order(services, model, dataset, num_train_epochs=1000, eval_share=0)
    wait_until(has(services, run, lambda seen: seen.step > 2), 90)
    stop_run(services, LOCAL_USER, run.id)
    stopped = ended(services, run, 20)
    assert (stopped.state, stopped.reason) == ("stopped", "asked")
    assert (services.artifacts.adapter_dir(run.id) / "adapter_model.safetensors").is_file()


def test_a_failing_run_says_why_and_the_next_one_is_not_held_up(
    services: Services, worker: "subprocess.Popen[bytes]", model: Path, dataset: str
) -> None:
    bad = order(services, model, dataset)
    services.artifacts.data_parquet(dataset).rename(services.artifacts.dataset_dir(dataset) / "hidden")
    failed = ended(services, bad)
    assert failed.state == "failed" and failed.reason and failed.problem and failed.remedy
    assert str(services.settings.data_dir) not in failed.problem + failed.remedy
    (services.artifacts.dataset_dir(dataset) / "hidden").rename(services.artifacts.data_parquet(dataset))
    assert ended(services, order(services, model, dataset)).state == "succeeded"


def test_a_killed_trainer_is_queued_again_by_itself(
    services: Services, worker: "subprocess.Popen[bytes]", model: Path, dataset: str
) -> None:
    run = order(services, model, dataset, num_train_epochs=1000, eval_share=0)
    wait_until(has(services, run, lambda seen: seen.step > 0), 90)
    os.kill(services.runs.get(run.id, LOCAL_USER).pid or 0, signal.SIGKILL)
    wait_until(has(services, run, lambda seen: seen.claim == 2 and seen.step > 0), 90)
    titles = [event.title for event in services.runs.events(run.id, LOCAL_USER)]
    assert "Interrupted" in titles and "Queued again" in titles
    stop_run(services, LOCAL_USER, run.id)
    assert ended(services, run, 30).state == "stopped"


def test_a_killed_worker_takes_its_trainer_along_and_the_next_one_goes_on(
    settings: Settings, services: Services, model: Path, dataset: str
) -> None:
    first = start_worker(settings)
    run = order(services, model, dataset, num_train_epochs=1000, eval_share=0)
    wait_until(has(services, run, lambda seen: seen.step > 0), 90)
    trainer = services.runs.get(run.id, LOCAL_USER).pid or 0
    first.kill()
    first.wait()
    wait_until(lambda: is_gone(trainer), 10)
    second = start_worker(settings)
    wait_until(has(services, run, lambda seen: seen.claim == 2 and seen.step > 0), 90)
    second.send_signal(signal.SIGTERM)
    assert second.wait(15) == 0
    given_back = services.runs.get(run.id, LOCAL_USER)
    assert given_back.state == "queued" and is_gone(given_back.pid or 0)


def test_a_second_worker_of_one_data_dir_is_refused(settings: Settings, worker: "subprocess.Popen[bytes]") -> None:
    assert start_worker(settings).wait(30) == 3
    assert worker.poll() is None
