"""The judge itself: it must find what is wrong, or 200 quiet rounds would say nothing."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from studio.core.failpoints import VARIABLE
from studio.core.services import Services
from studio.core.stores.claims import Claimed, claim_run
from studio.core.stores.runs import Event
from studio.core.use_cases.submit import accept
from tests.chaos.judge import Findings, judge_folders, judge_history, judge_records, judge_run
from tests.chaos.points import all_points, by_file
from tests.integration.records import add_run

WORKER = {"host": "here", "worker_id": "w"}


def line(at: float, name: str, run: str = "a", claim: int = 1, **facts: Any) -> dict[str, Any]:
    """A line of the history."""
    return {"at": at, "pid": claim, "name": name, "run": run, "claim": claim, **facts}


def judged(*lines: dict[str, Any]) -> Findings:
    """What the history shows."""
    found = Findings()
    judge_history(list(lines), found)
    return found


def test_attempts_one_after_the_other_are_fine() -> None:
    found = judged(
        line(1, "attempt.progress.committed", step=1),
        line(2, "checkpoint.sealed", step=1),
        line(3, "attempt.resumed.committed", claim=2, step=1),
        line(4, "attempt.progress.committed", claim=2, step=2),
        line(5, "attempt.progress.committed", run="b", step=1),
    )
    assert found.all == []


def test_two_trainers_at_once_are_found_on_one_run_and_on_one_device() -> None:
    assert judged(
        line(1, "attempt.move.commit"), line(2, "attempt.move.commit", "b"), line(3, "attempt.move.commit")
    ).doubled
    assert judged(
        line(1, "attempt.move.commit"), line(2, "attempt.move.commit", claim=2), line(3, "attempt.spec.commit")
    ).doubled


def test_an_accepted_write_of_an_old_claim_is_found() -> None:
    assert judged(line(1, "attempt.move.committed", claim=2), line(2, "attempt.metrics.committed", claim=1)).violations


def test_a_step_that_falls_and_a_resume_from_nowhere_are_found() -> None:
    fallen = judged(line(1, "attempt.progress.committed", step=5), line(2, "attempt.progress.committed", step=4))
    assert "fell from 5 to 4" in fallen.violations[0]
    assert "no checkpoint" in judged(line(1, "attempt.resumed.committed", claim=2, step=3)).violations[0]


def test_a_run_that_is_stuck_or_has_an_illegal_chain_is_found(services: Services) -> None:
    run = add_run(services)
    found = Findings()
    judge_run(services, run, found)
    assert found.lost and any("no folder" in words for words in found.violations)
    with services.db.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET state = 'succeeded'")
    found = Findings()
    judge_run(services, services.runs.get(run.id, None), found)
    assert found.untruthful and found.violations


def test_a_success_without_its_files_is_found(services: Services) -> None:
    run = add_run(services)
    claim = claim_run(services.db, run.id, WORKER) or 0
    pen = Claimed(services.db, run.id, claim)
    pen.move("running", "x")
    pen.move("finalizing", "x")
    seen = services.runs.get(run.id, None)
    result = {"files": {"adapter_model.safetensors": {"size": 1, "sha256": "0"}}}
    services.runs.move(seen, "succeeded", Event(time.time(), "succeeded", "x", ""), result=result)
    found = Findings()
    judge_run(services, services.runs.get(run.id, None), found)
    assert "without the files" in found.untruthful[0]


def test_an_old_folder_without_a_row_is_found(services: Services) -> None:
    (services.artifacts.run_dir("a" * 12)).mkdir(parents=True)
    found = Findings()
    judge_folders(services, found)
    assert found.all == []  # it is young: the sweep has its time
    past = time.time() - 1000
    import os

    os.utime(services.artifacts.run_dir("a" * 12), (past, past))
    judge_folders(services, found)
    assert "has no run" in found.violations[0]


def test_broken_records_are_found(services: Services) -> None:
    add_run(services)
    services.db.close()
    with services.settings.database_path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 8192)
    found = Findings()
    try:
        judge_records(services, found)
    except Exception as error:
        found.violations.append(str(error))
    assert found.violations


def test_there_are_many_failpoints_and_each_name_stands_at_one_place() -> None:
    names = [point for points in by_file().values() for point in points]
    assert len(all_points()) >= 40
    assert sorted(names) == all_points()


@pytest.mark.parametrize("action", ["kill", "full"])
def test_an_armed_point_acts_once_and_leaves_a_history(tmp_path: Path, action: str) -> None:
    (tmp_path / "armed").write_text(f"file.written {action}")
    code = (
        "from pathlib import Path\nfrom studio.core.artifacts import write_whole\n"
        f"write_whole(Path({str(tmp_path / 'x')!r}), b'1')"
    )
    ends = [
        subprocess.run([sys.executable, "-c", code], env={VARIABLE: str(tmp_path)}, capture_output=True).returncode
        for _ in range(2)
    ]
    assert ends == [-9 if action == "kill" else 1, 0]
    assert (tmp_path / "x").read_bytes() == b"1"
    assert (tmp_path / "history.jsonl").read_text().count('"fired"') == 1


def test_a_submit_that_fails_leaves_neither_row_nor_folder(services: Services) -> None:
    from studio.core.errors import Conflict
    from studio.core.stores.runs import NewRun

    with pytest.raises(Conflict):
        accept(services, NewRun("local", "x", {}, "repo", "main", "nothing"))
    assert list(services.artifacts.runs_dir().iterdir()) == []
