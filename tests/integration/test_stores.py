"""The stores on a real SQLite file."""

import multiprocessing
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from studio.core.db import DRIVER, Database
from studio.core.errors import BootRefused, Conflict, NotFound, Unavailable
from studio.core.migrate import open_records
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, ClaimLost, StopWanted, claim_run
from studio.core.stores.runs import Event, NewRun
from studio.core.stores.series import thin
from studio.core.stores.users import LOCAL_USER
from studio.core.tables import metadata
from studio.core.use_cases.steer import stop_run
from tests.integration.records import add_dataset, add_run

WORKER = {"host": "here", "worker_id": "w"}


def test_the_migrations_make_exactly_the_schema_of_the_tables(services: Services) -> None:
    with services.db.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_schema_from_a_newer_program_is_refused(settings: Settings, services: Services) -> None:
    with services.db.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BootRefused, match="newer Tunesmith"):
        open_records(settings)


def test_the_data_dir_is_for_its_owner_alone(settings: Settings, services: Services) -> None:
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_queued_run_is_claimed_once(services: Services) -> None:
    run = add_run(services)
    assert claim_run(services.db, run.id, WORKER) == 1
    assert claim_run(services.db, run.id, WORKER) is None
    claimed = services.runs.get(run.id, LOCAL_USER)
    assert (claimed.state, claimed.claim, claimed.attempts) == ("starting", 1, 1)


def test_an_older_claim_can_write_nothing(services: Services) -> None:
    run = add_run(services)
    old = Claimed(services.db, run.id, claim_run(services.db, run.id, WORKER) or 0)
    for state in ("interrupted", "queued"):
        seen = services.runs.get(run.id, None)
        assert services.runs.move(seen, state, Event(time.time(), state, state, ""), claim=1)  # type: ignore[arg-type]
    assert claim_run(services.db, run.id, WORKER) == 2
    for write in (
        lambda: old.metrics([(1, "loss", 1.0)]),
        lambda: old.progress(1, 2),
        lambda: old.event("note", "x"),
        lambda: old.move("running", "x"),
        lambda: old.spec({}),
    ):
        with pytest.raises(ClaimLost):
            write()
    assert services.metrics.series(run.id, ("loss",)) == {"loss": []}


def test_a_stop_is_seen_by_the_trainer_and_blocks_its_next_move(services: Services) -> None:
    run = add_run(services)
    pen = Claimed(services.db, run.id, claim_run(services.db, run.id, WORKER) or 0)
    pen.move("running", "Training")
    assert not pen.stop_wanted()
    stop_run(services, LOCAL_USER, run.id)
    assert pen.stop_wanted()
    with pytest.raises(StopWanted):
        pen.move("finalizing", "x")
    assert stop_run(services, LOCAL_USER, run.id).state == "stopping"


def test_a_waiting_run_is_taken_out_of_the_line_and_stays_out(services: Services) -> None:
    run = add_run(services)
    assert stop_run(services, LOCAL_USER, run.id).state == "stopped"
    assert services.line.next() is None
    with pytest.raises(Conflict, match="already ended"):
        stop_run(services, LOCAL_USER, run.id)


def test_runs_wait_in_the_order_of_their_arrival(services: Services) -> None:
    first, second = add_run(services, "first"), add_run(services, "second")
    assert services.line.next() == first.id
    stop_run(services, LOCAL_USER, first.id)
    assert services.line.next() == second.id
    assert [run.name for run in services.runs.of(LOCAL_USER)] == ["second", "first"]


def test_the_same_idempotency_key_makes_one_run(services: Services) -> None:
    assert add_run(services, key="k").id == add_run(services, key="k").id
    assert add_run(services, key="other").id != add_run(services, key="k").id
    assert len(services.runs.of(LOCAL_USER)) == 2


def test_another_persons_rows_do_not_exist(services: Services) -> None:
    run, version = add_run(services), services.datasets.of(LOCAL_USER)[0]
    for look in (
        lambda: services.runs.get(run.id, "somebody"),
        lambda: services.datasets.get(version.dataset_id, "somebody"),
        lambda: services.datasets.version(version.id, "somebody"),
        lambda: stop_run(services, "somebody", run.id),
    ):
        with pytest.raises(NotFound):
            look()
    assert services.runs.of("somebody") == [] and services.datasets.of("somebody") == []
    assert services.runs.events(run.id, "somebody") == []


def test_a_run_of_a_dataset_that_is_gone_is_refused(services: Services) -> None:
    with pytest.raises(Conflict, match="dataset is gone"):
        services.runs.add(NewRun(LOCAL_USER, "x", {}, "repo", "main", "nothing"))


def test_every_change_of_state_leaves_an_event(services: Services) -> None:
    run = add_run(services)
    pen = Claimed(services.db, run.id, claim_run(services.db, run.id, WORKER) or 0)
    pen.move("running", "Training")
    kinds = [event.kind for event in services.runs.events(run.id, LOCAL_USER)]
    assert kinds == ["running", "starting", "queued"]


def test_a_metric_written_again_replaces_the_older_one(services: Services) -> None:
    run = add_run(services)
    pen = Claimed(services.db, run.id, claim_run(services.db, run.id, WORKER) or 0)
    pen.metrics([(1, "loss", 3.0), (2, "loss", 2.0)])
    pen.metrics([(2, "loss", 1.5), (2, "eval_loss", 1.0)])
    assert services.metrics.series(run.id, ("loss",)) == {"loss": [(1, 3.0), (2, 1.5)]}
    assert services.metrics.latest(run.id) == {"loss": 1.5, "eval_loss": 1.0}


def test_a_look_that_is_out_of_date_moves_nothing(services: Services) -> None:
    run = add_run(services)
    pen = Claimed(services.db, run.id, claim_run(services.db, run.id, WORKER) or 0)
    pen.move("running", "Training")
    old = services.runs.get(run.id, None)
    stop_run(services, LOCAL_USER, run.id)
    assert not services.runs.move(old, "interrupted", Event(time.time(), "interrupted", "x", ""), claim=1)
    assert services.runs.get(run.id, None).state == "stopping"
    assert next(event.kind for event in services.runs.events(run.id, LOCAL_USER)) == "stopping"


def test_what_was_measured_beyond_the_resume_point_is_superseded(services: Services) -> None:
    run = add_run(services)
    pen = Claimed(services.db, run.id, claim_run(services.db, run.id, WORKER) or 0)
    pen.metrics([(step, "loss", float(step)) for step in range(1, 6)])
    pen.resumed(3)
    assert services.metrics.series(run.id, ("loss",)) == {"loss": [(1, 1.0), (2, 2.0), (3, 3.0)]}
    assert (services.runs.get(run.id, None).step, services.runs.get(run.id, None).checkpoint_step) == (3, 3)


def test_long_series_keep_both_ends_when_thinned() -> None:
    points = thin([(i, float(i)) for i in range(10_000)], 600)
    assert len(points) == 600 and points[0][0] == 0 and points[-1][0] == 9999


def test_the_same_file_of_one_person_is_found_again(services: Services) -> None:
    version = add_dataset(services)
    assert services.datasets.same_file(LOCAL_USER, version.sha256, version.mapping) == version
    assert services.datasets.same_file(LOCAL_USER, version.sha256, {"prompt": "b"}) is None
    assert services.datasets.same_file("somebody", version.sha256, version.mapping) is None


def _count_up(path: Path, run_id: str, rounds: int) -> None:
    db = Database(path)
    for _ in range(rounds):
        with db.write() as connection:
            (step,) = connection.exec_driver_sql("SELECT step FROM runs WHERE id = ?", (run_id,)).one()
            connection.exec_driver_sql("UPDATE runs SET step = ? WHERE id = ?", (step + 1, run_id))


def test_writers_in_several_processes_lose_nothing(settings: Settings, services: Services) -> None:
    run = add_run(services)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_count_up, args=(settings.database_path, run.id, 100)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert services.runs.get(run.id, LOCAL_USER).step == 300


def test_a_database_locked_by_another_is_a_sentence(
    settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_run(services)
    monkeypatch.setattr("studio.core.db.BUSY_SECONDS", 0.1)
    quick = Database(settings.database_path)
    holder = DRIVER.connect(settings.database_path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(Unavailable, match="nothing was changed"):
            Claimed(quick, run.id, 0).progress(1, 2)
    finally:
        holder.close()
        quick.close()


def test_the_bundled_sqlite_is_one_without_the_wal_bug() -> None:
    assert DRIVER.sqlite_version_info >= (3, 51, 3)


def test_a_list_of_runs_leaves_the_long_parts_out_and_one_run_has_them(services: Services) -> None:
    run = add_run(services)
    with services.db.write() as connection:
        text = '{"answers": [1], "files": {"a": 1}, "tuned": {"loss": 0.5}}'
        values = (text, '{"dtype": "x"}', run.id)
        connection.exec_driver_sql("UPDATE runs SET result = ?, spec = ? WHERE id = ?", values)
    (listed,) = services.runs.of(LOCAL_USER)
    assert (listed.result, listed.spec) == ({"tuned": {"loss": 0.5}}, None)
    whole = services.runs.get(run.id, LOCAL_USER)
    assert whole.result and "answers" in whole.result and whole.spec == {"dtype": "x"}
