"""The line of waiting runs, on real records: whose turn it is, and what people change of it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from studio.core.artifacts import new_id
from studio.core.services import Services, open_services
from studio.core.stores.claims import claim_run
from studio.core.stores.runs import Event, NewRun, Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.steer import delete_run, stop_run
from studio.core.use_cases.submit import accept
from tests.integration.records import add_dataset, add_run

WORKER = {"host": "here", "worker_id": "w"}


def names(services: Services) -> list[str]:
    """The waiting runs in their order."""
    waiting = [run for run in services.runs.of(LOCAL_USER) if run.state == "queued"]
    return [run.name for run in sorted(waiting, key=lambda run: run.position)]


def three(services: Services) -> list[Run]:
    """Runs a, b, c."""
    return [add_run(services, name) for name in "abc"]


def test_a_run_moves_one_place_at_a_time_and_not_beyond_the_ends(services: Services) -> None:
    a, b, c = three(services)
    assert services.line.move(c.id, LOCAL_USER, -1) and names(services) == ["a", "c", "b"]
    assert services.line.move(c.id, LOCAL_USER, -1) and names(services) == ["c", "a", "b"]
    assert not services.line.move(c.id, LOCAL_USER, -1) and not services.line.move(b.id, LOCAL_USER, 1)
    assert services.line.next() == c.id
    assert not services.line.move(a.id, "somebody", -1)


def test_the_order_survives_a_restart(services: Services) -> None:
    three(services)
    services.line.move(services.line.next() or "", LOCAL_USER, 1)
    services.line.pause(True)
    before = names(services)
    again = open_services(services.settings)
    assert names(again) == before == ["b", "a", "c"] and again.line.paused_at() is not None
    again.db.close()
    again.bell.huey.storage.close()


def test_held_runs_and_a_paused_queue_wait(services: Services) -> None:
    a, b, _ = three(services)
    assert services.line.hold(a.id, LOCAL_USER, True) and services.line.next() == b.id
    assert claim_run(services.db, a.id, WORKER) is None
    assert not services.line.hold(a.id, LOCAL_USER, True)
    services.line.pause(True)
    assert services.line.next() is None
    services.line.pause(False)
    assert services.line.hold(a.id, LOCAL_USER, False) and services.line.next() == a.id
    assert [e.title for e in services.runs.events(a.id, LOCAL_USER)][:2] == ["Released", "Held back"]


def after(services: Services, first: Run, name: str) -> Run:
    """A run that comes after another one, and before all others in the line."""
    version = services.datasets.of(LOCAL_USER)[0]
    run = services.runs.add(NewRun(LOCAL_USER, name, {}, "repo", "main", version.id, after_run_id=first.id))
    while services.line.move(run.id, LOCAL_USER, -1):
        pass
    return run


def test_a_run_after_another_waits_for_its_end_however_it_ends(services: Services) -> None:
    first = add_run(services, "first")
    second = after(services, first, "second")
    assert names(services) == ["second", "first"] and services.line.next() == first.id
    stop_run(services, LOCAL_USER, first.id)
    assert services.line.next() == second.id


@pytest.mark.parametrize("deleted", [False, True])
def test_a_run_after_one_that_failed_or_was_deleted_takes_its_turn(services: Services, deleted: bool) -> None:
    first = add_run(services, "first")
    second = after(services, first, "second")
    claim = claim_run(services.db, first.id, WORKER)
    assert services.line.next() is None
    seen = services.runs.get(first.id, None)
    assert services.runs.move(seen, "failed", Event(time.time(), "failed", "Failed", ""), claim=claim)
    if deleted:
        delete_run(services, LOCAL_USER, first.id)
    assert services.line.next() == second.id


def test_a_run_waits_out_its_pause(services: Services) -> None:
    run, other = add_run(services), add_run(services, "other")
    claim = claim_run(services.db, run.id, WORKER)
    for state, columns in (("interrupted", {"not_before": time.time() + 60}), ("queued", {})):
        seen = services.runs.get(run.id, None)
        assert services.runs.move(seen, state, Event(time.time(), state, state, ""), claim=claim, **columns)  # type: ignore[arg-type]
    assert services.line.next() == other.id
    assert services.line.next(now=time.time() + 61) == run.id


def test_the_person_with_the_fewest_runs_at_work_comes_first(services: Services) -> None:
    with services.db.write() as connection:
        connection.exec_driver_sql("INSERT INTO users VALUES ('other', 'Other', 1.0)")
    mine = [add_run(services, name) for name in "abc"]
    theirs = services.runs.add(NewRun("other", "x", {}, "repo", "main", add_dataset(services, "other").id))
    assert services.line.next() == mine[0].id
    claim_run(services.db, mine[0].id, WORKER)
    assert services.line.next() == theirs.id
    claim_run(services.db, theirs.id, WORKER)
    assert services.line.next() == mine[1].id


def test_eight_presses_of_start_at_once_make_one_row_and_one_folder(services: Services) -> None:
    version = add_dataset(services)

    def press(_: int) -> str:
        return accept(services, NewRun(LOCAL_USER, "x", {}, "repo", "main", version.id, "key", id=new_id())).id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(press, range(8)))
    assert len(ids) == 1
    assert {folder.name for folder in services.artifacts.runs_dir().iterdir()} == ids
    assert [run.id for run in services.runs.of(LOCAL_USER)] == list(ids)
