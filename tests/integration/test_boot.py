"""Boot checks, the mark of the records, migrations that are killed, and the two services of compose.yaml."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from alembic import command
from alembic.config import Config
from rich.console import Console

from studio import doctor
from studio.core import boot
from studio.core.boot import check_records
from studio.core.copies import is_whole, reading, revision_of
from studio.core.db import Database
from studio.core.errors import BootRefused
from studio.core.failpoints import VARIABLE
from studio.core.mark import MarkKeeper, read_mark, read_values, write_mark
from studio.core.migrate import MIGRATIONS, known_revisions, open_records, prepare_data_dir
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.machines import MachineStore
from tests.integration.records import add_run
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
OPEN = (
    "from studio.core.settings import Settings; from studio.core.migrate import open_records; open_records(Settings())"
)


def run_python(code: str, settings: Settings, failpoints: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """A fresh process on the test's data dir; with a folder of failpoints, those are looked at."""
    env = {**os.environ, "TUNESMITH_DATA_DIR": str(settings.data_dir)}
    env |= {VARIABLE: str(failpoints)} if failpoints else {}
    return subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def leave_a_wal(settings: Settings) -> None:
    """A run in the -wal file alone, as a process leaves it that was killed."""
    done = run_python(
        "import os; from studio.core.services import open_services; from studio.core.settings import Settings;"
        "from tests.integration.records import add_run; s = open_services(Settings()); add_run(s);"
        "from studio.core.mark import MarkKeeper; MarkKeeper(s.settings, s.db).keep(); os._exit(0)",
        settings,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "virtiofs", "9p"])
def test_a_network_or_fuse_file_system_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = type("Mount", (), {"mountpoint": "/", "fstype": kind})
    monkeypatch.setattr(boot.psutil, "disk_partitions", lambda **_: [here])  # no such thing can be mounted here
    with pytest.raises(BootRefused, match=f"lies on {kind}.*local disk"):
        prepare_data_dir(Settings(data_dir=tmp_path / "far"))
    assert not (tmp_path / "far").exists()


def test_what_is_mounted_over_an_older_mount_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [type("Mount", (), {"mountpoint": "/", "fstype": kind}) for kind in ("nfs", "ext4")]
    monkeypatch.setattr(boot.psutil, "disk_partitions", lambda **_: mounts)
    assert boot.check_file_system(Path("/")).found == "ext4"


def test_missing_records_are_never_made_anew_until_the_mark_is_deleted(settings: Settings) -> None:
    open_records(settings).close()
    settings.database_path.unlink()
    with pytest.raises(BootRefused, match=r"missing.*tunesmith restore.*delete records\.mark") as refused:
        open_records(settings)
    assert str(settings.data_dir) not in str(refused.value)
    assert not settings.database_path.exists()
    (settings.data_dir / "records.mark").unlink()
    open_records(settings).close()


def test_a_deleted_wal_is_found_and_putting_it_back_mends_it(settings: Settings, tmp_path: Path) -> None:
    open_records(settings).close()
    leave_a_wal(settings)
    wal = settings.database_path.with_name("tunesmith.db-wal")
    wal.rename(tmp_path / "wal")
    refused = run_python(OPEN, settings)
    assert "older than they were" in refused.stderr and "event 0, was 1" in refused.stderr
    (tmp_path / "wal").replace(wal)
    mended = open_records(settings)
    with mended.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 1
    mended.close()


def test_an_older_database_in_the_place_of_a_newer_one_is_refused(
    settings: Settings, services: Services, tmp_path: Path
) -> None:
    services.db.close()
    shutil.copy(settings.database_path, tmp_path / "older.db")
    add_run(services)
    MarkKeeper(settings, services.db).keep()
    services.db.close()
    shutil.copy(tmp_path / "older.db", settings.database_path)
    with pytest.raises(BootRefused, match="event 0, was 1"):
        open_records(settings)


def test_other_records_than_were_here_are_refused(settings: Settings, tmp_path: Path) -> None:
    open_records(settings).close()
    other = Settings(data_dir=tmp_path / "other")
    open_records(other).close()
    shutil.copy(other.database_path, settings.database_path)
    with pytest.raises(BootRefused, match="not the records that were here"):
        open_records(settings)


def test_a_heartbeat_that_is_lost_is_noticed_and_a_worker_that_leaves_in_order_is_not(
    settings: Settings, services: Services
) -> None:
    machines, keeper = MachineStore(services.db), MarkKeeper(settings, services.db)
    machines.report("here", "w", {})
    keeper.keep()
    seen = (read_mark(settings) or {})["seen"]
    with services.db.write() as connection:
        connection.exec_driver_sql("UPDATE machines SET seen_at = seen_at - 1")
    with pytest.raises(BootRefused, match="older than they were"):
        open_records(settings)
    keeper.leave()
    machines.gone("here")
    open_records(settings).close()
    assert seen > 0 and "seen" not in (read_mark(settings) or {})


def test_the_mark_is_written_when_something_moved_and_not_for_each_heartbeat(
    settings: Settings, services: Services
) -> None:
    machines, keeper = MachineStore(services.db), MarkKeeper(settings, services.db)
    machines.report("here", "w", {})
    keeper.keep()
    first = read_mark(settings)
    machines.seen("here")
    keeper.keep()
    assert read_mark(settings) == first
    add_run(services)
    keeper.keep()
    assert (read_mark(settings) or {})["event"] == 1


def test_a_mark_that_stays_ahead_is_refused_with_both_numbers(settings: Settings, services: Services) -> None:
    with services.db.read() as connection:
        values = read_values(lambda query: connection.exec_driver_sql(query).scalar())
    write_mark(settings, {**values, "event": 7})
    with pytest.raises(BootRefused, match="event 0, was 7"):
        open_records(settings)


@pytest.mark.parametrize("damage", [b"not a database at all" * 400, b""])
def test_damaged_records_are_refused_with_the_way_out(settings: Settings, damage: bytes) -> None:
    open_records(settings).close()
    settings.database_path.write_bytes(damage)
    with pytest.raises(BootRefused, match="tunesmith restore"):
        open_records(settings)
    assert settings.database_path.read_bytes() == damage


def test_a_page_of_noise_in_the_middle_is_found(settings: Settings, services: Services) -> None:
    for number in range(50):
        add_run(services, f"run {number} " + "long " * 200)
    services.db.close()
    with settings.database_path.open("r+b") as file:
        file.seek(settings.database_path.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(8192))
    with pytest.raises(BootRefused, match="damaged"):
        open_records(settings)


def test_a_start_that_may_not_be_ends_with_code_three_and_one_sentence(settings: Settings) -> None:
    open_records(settings).close()
    settings.database_path.unlink()
    for program in (["-m", "studio", "web"], ["-m", "worker"]):
        env = {**os.environ, "TUNESMITH_PORT": "0"}
        done = subprocess.run(
            [sys.executable, *program], env=env, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 3
        assert "The records are missing" in done.stderr and "Traceback" not in done.stderr


def test_the_doctor_reports_each_check_and_changes_nothing(
    settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_devices", lambda: {"devices": [], "matmul": {}})
    before = read_mark(settings)
    report = doctor.examine(settings, Console(quiet=True))
    assert report["ok"] and "whole (checked in" in report["records"] and report["worker"] == "not running"
    assert {"file_system", "free_disk", "permissions", "sqlite", "schema", "age"} <= set(report)
    write_mark(settings, {**(before or {}), "event": 9})
    report = doctor.examine(settings, Console(quiet=True))
    assert not report["ok"] and "was 9" in report["problems"][0] and "delete records.mark" in report["problems"][0]


def test_the_doctor_of_a_studio_that_never_ran_makes_no_folder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_devices", lambda: {"devices": [], "matmul": {}})
    report = doctor.examine(settings, Console(quiet=True))
    assert report["ok"] and report["records"] == "none yet" and not settings.data_dir.exists()


def _is_marked_since(settings: Settings, began: float) -> bool:
    """Whether a worker has noted its heartbeat since then."""
    mark = read_mark(settings) or {}
    return "seen" in mark and mark["at"] > began


def test_a_worker_keeps_mark_ballast_and_snapshots_and_leaves_in_order_or_not(settings: Settings) -> None:
    env = {**os.environ, "TUNESMITH_BALLAST_BYTES": "1000000", "TUNESMITH_BACKUP_HOURS": "1"}
    ballast, snapshots = settings.data_dir / "ballast", settings.data_dir / "backups"
    for end, seen in ((signal.SIGKILL, True), (signal.SIGTERM, False)):
        began = time.time()
        process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "worker"], env=env, cwd=ROOT)
        wait_until(partial(_is_marked_since, settings, began))
        wait_until(lambda: ballast.exists() and any(snapshots.glob("*.db")))
        process.send_signal(end)
        process.wait(30)
        assert ("seen" in (read_mark(settings) or {})) is seen
        open_records(settings).close()
    assert len(list(snapshots.iterdir())) == 1


@pytest.fixture
def old(settings: Settings) -> Settings:
    """A data dir with a database of the first schema and a row in it."""
    prepare_data_dir(settings)
    database = Database(settings.database_path)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO users VALUES ('local', 'You', 1.0)")
    database.close()
    return settings


def revision(path: Path) -> str | None:
    """The schema's revision in a file, which is whole."""
    with reading(path) as connection:
        assert is_whole(connection)
        return revision_of(connection)


def test_a_migration_leaves_a_checked_copy_of_what_was_there(old: Settings) -> None:
    open_records(old).close()
    (copy,) = (old.data_dir / "backups").glob("before-*.db")
    assert (revision(copy), revision(old.database_path)) == ("0001", max(known_revisions()))
    open_records(old).close()
    assert len(list((old.data_dir / "backups").iterdir())) == 1


@pytest.mark.parametrize(
    "place", ["migration.copied", "migration.begun", "migration.commit", "migration.committed", "migration.done"]
)
def test_a_kill_inside_a_migration_leaves_one_schema_whole_and_the_next_start_goes_on(
    old: Settings, tmp_path: Path, place: str
) -> None:
    (tmp_path / "armed").write_text(f"{place} kill")
    assert run_python(OPEN, old, tmp_path).returncode == -9
    newest = max(known_revisions())
    assert revision(old.database_path) == (newest if place in ("migration.committed", "migration.done") else "0001")
    open_records(old).close()
    assert revision(old.database_path) == newest


def test_a_full_disk_before_a_migration_changes_nothing(old: Settings, tmp_path: Path) -> None:
    (tmp_path / "armed").write_text("migration.begun full")
    assert run_python(OPEN, old, tmp_path).returncode == 1
    assert revision(old.database_path) == "0001"


def test_big_records_are_read_through_by_the_doctor_alone(
    settings: Settings, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "CHECKED_BYTES", 0)
    assert ["doctor" in check.found for check in check_records(settings, known_revisions())][1]
    assert "whole" in list(check_records(settings, known_revisions(), thorough=True))[1].found


def test_both_services_stand_on_one_named_local_volume_of_one_image() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    web, worker = (compose["services"][name] for name in ("web", "worker"))
    assert set(compose["services"]) == {"web", "worker"}
    assert web["image"] == worker["image"] and (web["command"], worker["command"]) == (["web"], ["worker"])
    for service in (web, worker):
        assert service["volumes"] == [{"type": "volume", "source": "data", "target": "/data"}]
        assert service["restart"] == "unless-stopped"
    assert compose["volumes"] == {"data": {"driver": "local"}}
    assert web["ports"] == ["127.0.0.1:7860:7860"] and "/healthz" in json.dumps(web["healthcheck"])
    assert worker["stop_grace_period"] == "60s"


def test_a_restore_that_was_cut_off_is_told_on_the_page(settings: Settings) -> None:
    open_records(settings).close()
    (settings.data_dir / "restoring").mkdir()
    open_records(settings).close()
    assert "cut off" in json.loads((settings.data_dir / "notice.json").read_text())["words"]
    assert not (settings.data_dir / "restoring").exists()
