"""What a person does to a run: retry, delete, clean up; and what is swept when a kill came in between."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.core.errors import Conflict, NotFound
from studio.core.failpoints import VARIABLE
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, ClaimLost, claim_run
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases import storage
from studio.core.use_cases.steer import clean_checkpoints, delete_run, hold_run, move_run, retry_run, stop_run
from studio.core.use_cases.submit import Order, submit
from studio.core.use_cases.upload import import_file
from tests.integration.records import add_run
from tests.integration.tiny import make_tiny_model

WORKER = {"host": "here", "worker_id": "w"}


@pytest.fixture
def ended(services: Services) -> Run:
    """A stopped run with files."""
    run = add_run(services)
    folder = services.artifacts.run_dir(run.id)
    for name, size in (("adapter/a.safetensors", 1000), ("checkpoints/checkpoint-3/x", 5000), ("train.log", 10)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return stop_run(services, LOCAL_USER, run.id)


def test_a_deleted_run_is_gone_with_its_files_and_its_row_stays_as_a_stone(services: Services, ended: Run) -> None:
    delete_run(services, LOCAL_USER, ended.id)
    with pytest.raises(NotFound):
        services.runs.get(ended.id, LOCAL_USER)
    assert services.runs.of(LOCAL_USER) == []
    assert not services.artifacts.run_dir(ended.id).exists() and services.tombstones.unfinished() == []
    assert services.tombstones.with_files() == set()
    with services.db.read() as connection:
        assert connection.exec_driver_sql("SELECT id FROM runs").scalars().all() == [ended.id]


def test_a_folder_that_is_made_anew_after_the_deletion_is_swept_away(services: Services, ended: Run) -> None:
    delete_run(services, LOCAL_USER, ended.id)
    folder = services.artifacts.run_dir(ended.id)
    folder.mkdir()
    storage.finish_removals(services.artifacts, services.tombstones)
    assert folder.exists()  # it is too young to be judged
    storage.finish_removals(services.artifacts, services.tombstones, now=folder.stat().st_mtime + 99)
    assert not folder.exists()


def test_a_deletion_that_was_cut_off_is_finished_by_the_sweep(services: Services, ended: Run) -> None:
    assert services.tombstones.bury(ended.id, LOCAL_USER)
    assert services.artifacts.run_dir(ended.id).exists()
    storage.finish_removals(services.artifacts, services.tombstones)
    assert list(services.artifacts.runs_dir().iterdir()) == [] and services.tombstones.unfinished() == []


def killed_delete(services: Services, run: Run, point: str, points: Path) -> None:
    """A process that is to delete the run and is killed at `point`."""
    points.mkdir()
    (points / "armed").write_text(f"{point} kill")
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(services.settings.data_dir), VARIABLE: str(points)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.chaos.client", "delete", run.id]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("point", ["delete.tombstone.committed", "delete.set_aside", "delete.files"])
def test_a_deletion_killed_anywhere_is_finished_later(
    services: Services, ended: Run, tmp_path: Path, point: str
) -> None:
    killed_delete(services, ended, point, tmp_path / "points")
    assert services.runs.of(LOCAL_USER) == [] and services.tombstones.unfinished() == [ended.id]
    storage.finish_removals(services.artifacts, services.tombstones)
    assert list(services.artifacts.runs_dir().iterdir()) == [] and services.tombstones.unfinished() == []


def test_a_deletion_killed_before_its_stone_leaves_the_run_whole(
    services: Services, ended: Run, tmp_path: Path
) -> None:
    killed_delete(services, ended, "delete.tombstone.commit", tmp_path / "points")
    storage.finish_removals(services.artifacts, services.tombstones)
    assert storage.of_run(services, services.runs.get(ended.id, LOCAL_USER)).whole == 6010


def test_only_ended_runs_of_ones_own_are_deleted_or_cleaned(services: Services, ended: Run) -> None:
    live = add_run(services, "live")
    for deed in (delete_run, clean_checkpoints):
        with pytest.raises(NotFound):
            deed(services, "somebody", ended.id)
        with pytest.raises(Conflict):
            deed(services, LOCAL_USER, live.id)
    claim_run(services.db, live.id, WORKER)
    with pytest.raises(Conflict, match="has not ended"):
        delete_run(services, LOCAL_USER, live.id)
    assert services.artifacts.run_dir(ended.id).exists()


def test_the_disk_of_a_run_is_told_and_its_checkpoints_are_given_back(services: Services, ended: Run) -> None:
    before = storage.of_run(services, ended)
    assert (before.adapter, before.checkpoints, before.rest, before.whole) == (1000, 5000, 10, 6010)
    assert clean_checkpoints(services, LOCAL_USER, ended.id) == 5000
    after = storage.of_run(services, ended)
    assert (after.adapter, after.checkpoints) == (1000, 0)


def test_a_folder_without_a_row_is_swept_once_it_is_old(services: Services) -> None:
    orphan, kept = services.artifacts.run_dir("a" * 12), services.artifacts.run_dir(add_run(services).id)
    for folder in (orphan, kept):
        folder.mkdir(parents=True)
    storage.finish_removals(services.artifacts, services.tombstones)
    assert orphan.exists()
    past = time.time() - storage.ORPHAN_SECONDS - 1
    for folder in (orphan, kept):
        os.utime(folder, (past, past))
    storage.finish_removals(services.artifacts, services.tombstones)
    assert not orphan.exists() and kept.exists()


def test_stop_and_keep_the_best_is_a_wish_in_the_row_of_a_run_that_trains(services: Services) -> None:
    run = add_run(services)
    with pytest.raises(Conflict, match="does not train just now"):
        stop_run(services, LOCAL_USER, run.id, keep_best=True)
    claim = claim_run(services.db, run.id, WORKER)
    assert claim is not None
    claimed = Claimed(services.db, run.id, claim)
    claimed.move("running", "Training")
    assert not claimed.best_wanted()
    asked = stop_run(services, LOCAL_USER, run.id, keep_best=True)
    assert asked.state == "stopping" and claimed.stop_wanted() and claimed.best_wanted()
    assert "best check" in services.runs.events(run.id, LOCAL_USER)[0].detail
    with pytest.raises(ClaimLost):
        Claimed(services.db, run.id, claim + 1).best_wanted()


def test_a_plain_stop_wishes_for_no_best(services: Services) -> None:
    run = add_run(services)
    claim = claim_run(services.db, run.id, WORKER)
    assert claim is not None
    stop_run(services, LOCAL_USER, run.id)
    claimed = Claimed(services.db, run.id, claim)
    assert claimed.stop_wanted() and not claimed.best_wanted()


def test_what_does_not_wait_is_neither_held_nor_moved(services: Services, ended: Run) -> None:
    with pytest.raises(Conflict, match="does not wait"):
        hold_run(services, LOCAL_USER, ended.id, True)
    with pytest.raises(Conflict, match="can not be moved"):
        move_run(services, LOCAL_USER, ended.id, -1)


def test_a_retry_is_a_new_run_with_the_change_and_a_double_click_makes_one(
    services: Services, settings: Settings, tmp_path: Path
) -> None:
    model = make_tiny_model(tmp_path / "model")
    path = tmp_path / "orders.csv"
    path.write_text("asked,answer\n" + "".join(f"Send {i}.,{i}\n" for i in range(8)))
    version = import_file(services, LOCAL_USER, path, path.name, {"prompt": "asked", "completion": "answer"})
    config = {"base": {"repo": str(model)}, "training": {"max_length": 128, "per_device_train_batch_size": 4}}
    first = submit(services, LOCAL_USER, Order("first", version.id, config))
    change = {"training": {"per_device_train_batch_size": 2}}
    twice = [retry_run(services, LOCAL_USER, first.id, "key", change) for _ in range(2)]
    assert twice[0].id == twice[1].id != first.id and twice[0].name == "first"
    assert twice[0].config["training"]["per_device_train_batch_size"] == 2
    assert twice[0].config["training"]["max_length"] == 128
    assert services.artifacts.spec_path(twice[0].id).is_file()
    follow = submit(services, LOCAL_USER, Order("then", version.id, config, after_run_id=first.id))
    assert follow.after_run_id == first.id
