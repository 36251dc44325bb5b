"""The records under many writers, under a writer that does not let go, and on a full disk."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import db
from studio.core.db import DRIVER, Database
from studio.core.errors import Unavailable
from studio.core.failpoints import VARIABLE
from studio.core.services import Services
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.storage import ORPHAN_SECONDS, finish_removals
from tests.integration.records import add_dataset, add_run

WRITERS, TIMES = 4, 2000


def test_four_processes_lose_none_of_eight_thousand_changes(services: Services) -> None:
    run = add_run(services)
    command = [sys.executable, "-m", "tests.integration.hammer", str(services.db.path), str(TIMES)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(WRITERS)]
    said = [writer.communicate(timeout=200)[1] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, said
    assert services.runs.get(run.id, LOCAL_USER).step == WRITERS * TIMES


@pytest.fixture
def busy(services: Services) -> Iterator[threading.Event]:
    """Another process' write that lasts until the event is set."""
    code = (
        "import sys; from studio.core.db import DRIVER; c = DRIVER.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(services.db.path)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdout and process.stdout.readline()
    over = threading.Event()

    def let_go() -> None:
        over.wait()
        process.communicate(b"\n")

    thread = threading.Thread(target=let_go)
    thread.start()
    yield over
    over.set()
    thread.join()


def test_a_page_waits_then_says_that_nothing_was_changed(
    services: Services, busy: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_SECONDS", 0.5)
    page = Database(services.db.path)
    with pytest.raises(Unavailable, match="nothing was changed"), page.write():
        pass
    page.close()


def test_the_worker_waits_as_long_as_it_takes(
    services: Services, busy: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_SECONDS", 0.2)
    asked = 0

    def wait_on() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            busy.set()
        return True

    worker = Database(services.db.path, wait_on)
    with worker.write() as connection:
        connection.exec_driver_sql("UPDATE users SET name = 'changed'")
    assert asked >= 3
    worker.close()


def test_a_worker_that_leaves_waits_no_longer(
    services: Services, busy: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "BUSY_SECONDS", 0.2)
    asked: list[bool] = []
    worker = Database(services.db.path, lambda: asked.append(True) or len(asked) < 2)
    with pytest.raises(Unavailable), worker.write():
        pass
    assert len(asked) == 2
    worker.close()


@pytest.mark.parametrize(
    ("point", "action", "code", "there"),
    [
        ("line.pause.commit", "kill", -signal.SIGKILL, False),
        ("line.pause.committed", "kill", -signal.SIGKILL, True),
        ("line.pause.commit", "full", 2, False),
    ],
)
def test_a_write_is_whole_or_not_there(
    services: Services, tmp_path: Path, point: str, action: str, code: int, there: bool
) -> None:
    points = tmp_path / "points"
    points.mkdir()
    (points / "armed").write_text(f"{point} {action}")
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(services.settings.data_dir), VARIABLE: str(points)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.chaos.client", "pause"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert (services.line.paused_at() is not None) is there
    if action == "full":
        assert "The disk is full; nothing was changed." in done.stderr
    connection = DRIVER.connect(str(services.db.path))
    assert connection.execute("PRAGMA quick_check").fetchone()[0] == "ok"
    connection.close()


PRESS = (
    "import sys; from studio.core.services import open_services; from studio.core.settings import Settings\n"
    "from studio.core.stores.runs import NewRun; from studio.core.use_cases.submit import accept\n"
    "accept(open_services(Settings()), NewRun('local', 'x', {}, 'repo', 'main', sys.argv[1], 'key'))"
)


@pytest.mark.parametrize(
    ("point", "there"), [("submit.folder", 0), ("submit.commit", 0), ("submit.committed", 1), ("none", 1)]
)
def test_start_pressed_again_after_a_kill_makes_one_run(
    services: Services, tmp_path: Path, point: str, there: int
) -> None:
    version, points = add_dataset(services), tmp_path / "points"
    points.mkdir()
    (points / "armed").write_text(f"{point} kill")
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(services.settings.data_dir), VARIABLE: str(points)}
    command = [sys.executable, "-W", "ignore", "-c", PRESS, version.id]
    codes = []
    for count in (there, 1):
        codes.append(subprocess.run(command, env=environment, capture_output=True).returncode)
        assert len(services.runs.of(LOCAL_USER)) == count
    assert codes == [0 if point == "none" else -signal.SIGKILL, 0]
    (run,) = services.runs.of(LOCAL_USER)
    assert services.artifacts.spec_path(run.id).is_file()
    finish_removals(services.artifacts, services.tombstones, time.time() + 2 * ORPHAN_SECONDS)
    assert [folder.name for folder in services.artifacts.runs_dir().iterdir()] == [run.id]
