"""The supervisor against trainers that crash, hang, go deaf, leave children behind or outlive their worker."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from studio.core import locks
from studio.core.artifacts import write_json
from studio.core.lineage import started_at
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, claim_run
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.steer import stop_run
from tests.integration.records import add_run
from tests.waiting import wait_until
from worker import supervise, watch
from worker.supervise import Supervisor

ODD = str(Path(__file__).with_name("odd_trainer.py"))
Start = Callable[..., Supervisor]


@pytest.fixture
def start(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """`start(mode, **settings)` sends a supervisor with such a trainer to work in a thread."""
    monkeypatch.setattr(watch, "TERM_SECONDS", 1)
    begun: list[tuple[Supervisor, threading.Thread]] = []

    def one(mode: str, **limits: int) -> Supervisor:
        settings = Settings(data_dir=services.settings.data_dir, disk_floor_bytes=0, **limits)
        supervisor = Supervisor(settings, services.db, threading.Event())
        supervisor.trainer = (sys.executable, ODD, mode)
        thread = threading.Thread(target=supervisor.dispatch)
        thread.start()
        begun.append((supervisor, thread))
        return supervisor

    yield one
    for supervisor, thread in begun:
        supervisor.leaving.set()
        thread.join(20)
        assert not thread.is_alive()


def now(services: Services, run: Run) -> Run:
    """The row."""
    return services.runs.get(run.id, LOCAL_USER)


def began(services: Services, run: Run, claim: int = 1) -> Callable[[], bool]:
    """Whether the trainer of that claim is at work."""
    return (services.artifacts.run_dir(run.id) / f"began-{claim}").exists


@pytest.mark.parametrize(("mode", "reason"), [("crash", "native_crash"), ("code", "protocol_error")])
def test_a_trainer_that_breaks_fails_its_run_with_the_reason(
    services: Services, start: Start, mode: str, reason: str
) -> None:
    run = add_run(services)
    start(mode)
    wait_until(lambda: now(services, run).state == "failed", 20)
    failed = now(services, run)
    assert failed.reason == reason and failed.problem and failed.remedy


def test_a_trainer_that_dies_again_and_again_without_progress_is_given_up_after_three_times(
    services: Services, start: Start
) -> None:
    run = add_run(services)
    start("killed")
    wait_until(lambda: now(services, run).state == "failed", 30)
    failed = now(services, run)
    assert (failed.reason, failed.claim) == ("crash_loop", 3)
    assert "3 times without getting any further" in (failed.problem or "")


def test_a_silent_trainer_is_ended_as_stalled_and_its_run_goes_on(services: Services, start: Start) -> None:
    run = add_run(services)
    supervisor = start("silent", stall_seconds=1)
    wait_until(began(services, run, 2), 20)
    supervisor.leaving.set()
    titles = [(e.kind, e.detail) for e in services.runs.events(run.id, LOCAL_USER)]
    assert any(kind == "interrupted" and "no sign of work" in detail for kind, detail in titles)


def test_a_run_over_its_time_limit_fails_and_says_so(services: Services, start: Start) -> None:
    run = add_run(services)
    start("loud", run_limit_seconds=1)
    wait_until(lambda: now(services, run).state == "failed", 20)
    assert now(services, run).reason == "time_limit"


def test_a_deaf_trainer_is_killed_after_the_stop_had_its_time(services: Services, start: Start) -> None:
    run = add_run(services)
    start("deaf", stop_grace_seconds=1)
    wait_until(began(services, run), 20)
    stop_run(services, LOCAL_USER, run.id)
    wait_until(lambda: now(services, run).state == "stopped", 15)
    assert not locks.is_held(services.artifacts.run_lock(run.id))


def test_a_frozen_trainer_is_stopped_too(services: Services, start: Start) -> None:
    run = add_run(services)
    start("loud", stop_grace_seconds=1)
    wait_until(began(services, run), 20)
    wait_until(lambda: now(services, run).pid is not None, 5)
    os.kill(now(services, run).pid or 0, signal.SIGSTOP)
    stop_run(services, LOCAL_USER, run.id)
    wait_until(lambda: now(services, run).state == "stopped", 15)
    assert not psutil.pid_exists(now(services, run).pid or 0)
    assert not locks.is_held(services.artifacts.run_lock(run.id))


def test_what_a_trainer_leaves_behind_is_ended_before_the_run_is_judged(services: Services, start: Start) -> None:
    run = add_run(services)
    start("child")
    wait_until(lambda: now(services, run).state in ("failed", "queued") and now(services, run).claim > 1, 30)
    assert "Queued again" in [event.title for event in services.runs.events(run.id, LOCAL_USER)]


def test_a_leaving_worker_gives_its_run_back_and_the_attempt_does_not_count(services: Services, start: Start) -> None:
    run = add_run(services)
    supervisor = start("yields")
    wait_until(began(services, run), 20)
    supervisor.leaving.set()
    wait_until(lambda: now(services, run).state == "queued", 15)
    given_back = now(services, run)
    assert (given_back.claim, given_back.attempts, given_back.reason) == (1, 0, "shutdown")


@pytest.fixture
def orphan(services: Services) -> Iterator[tuple[Run, "subprocess.Popen[bytes]"]]:
    """A live run whose trainer holds its lock and whose worker is gone."""
    run = add_run(services)
    supervisor = Supervisor(services.settings, services.db, threading.Event())
    lock = locks.hold(services.artifacts.run_lock(run.id))
    assert lock is not None
    claim = claim_run(services.db, run.id, {"host": supervisor.host, "worker_id": "gone"})
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,),
                               start_new_session=True)  # fmt: skip
    os.close(lock)
    Claimed(services.db, run.id, claim or 0).process(process.pid, started_at(process.pid) or 0.0)
    yield now(services, run), process
    process.kill()
    process.communicate()


def test_a_trainer_that_outlives_its_worker_is_waited_for_then_ended_and_its_run_goes_on(
    services: Services, orphan: tuple[Run, "subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, process = orphan
    supervisor = Supervisor(services.settings, services.db, threading.Event())
    supervisor.recover()
    assert process.poll() is None and now(services, run).state == "starting"
    monkeypatch.setattr(supervise, "ORPHAN_SECONDS", 0)
    supervisor.recover()
    assert process.wait(5) == -signal.SIGKILL
    supervisor.recover()
    assert now(services, run).state == "queued"


def test_a_pid_that_is_another_process_by_now_is_left_alone(
    services: Services, orphan: tuple[Run, "subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, process = orphan
    Claimed(services.db, run.id, run.claim).process(process.pid, 1.0)
    monkeypatch.setattr(supervise, "ORPHAN_SECONDS", 0)
    supervisor = Supervisor(services.settings, services.db, threading.Event())
    supervisor.recover()
    supervisor.recover()
    assert psutil.pid_exists(process.pid) and process.poll() is None


def test_what_an_older_attempt_said_of_itself_is_no_evidence(services: Services) -> None:
    run = add_run(services)
    claim = claim_run(services.db, run.id, {"host": "here", "worker_id": "gone"}) or 0
    old = {"reason": "bug", "problem": "Old.", "remedy": "Old.", "claim": claim - 1}
    write_json(services.artifacts.failure_path(run.id), old)
    Supervisor(services.settings, services.db, threading.Event()).recover()
    assert (now(services, run).state, now(services, run).reason) == ("queued", "killed")


def test_a_paused_queue_and_a_full_disk_keep_runs_waiting(services: Services) -> None:
    run = add_run(services)
    services.line.pause(True)
    supervisor = Supervisor(services.settings, services.db, threading.Event())
    supervisor.dispatch()
    assert now(services, run).claim == 0
    services.line.pause(False)
    narrow = Settings(data_dir=services.settings.data_dir, disk_floor_bytes=2**62)
    Supervisor(narrow, services.db, threading.Event()).dispatch()
    assert now(services, run).claim == 0
