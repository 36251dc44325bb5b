"""Backup and restore: whole or not at all, whatever stands in the archive and whenever the process is killed."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.artifacts import manifest
from studio.core.backup import backup
from studio.core.copies import is_whole, keep_snapshots, reading
from studio.core.errors import Conflict, DiskFull, Refused
from studio.core.failpoints import VARIABLE
from studio.core.locks import hold
from studio.core.mark import read_mark
from studio.core.migrate import known_revisions, open_records
from studio.core.restore import restore
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.users import LOCAL_USER
from tests.integration.mounts import fill, small_disk
from tests.integration.records import add_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_id(services: Services) -> str:
    """A run with files, a dataset with files, and things that stay out."""
    run = add_run(services, "kept")
    folder, data = services.artifacts.run_dir(run.id), services.artifacts.dataset_dir(run.dataset_version_id or "")
    for place in (folder / "adapter", folder / "checkpoints" / "step-1.part", data):
        place.mkdir(parents=True)
    for path in (folder / "adapter" / "a.bin", folder / "train.log", data / "data.parquet"):
        path.write_bytes(os.urandom(5000))
    for path in (folder / "run.lock", folder / "checkpoints" / "step-1.part" / "half", folder / "x.part"):
        path.touch()
    (folder / "link").symlink_to("/etc/hostname")
    (services.settings.data_dir / "runs" / "nobodyknows1").mkdir()
    (services.settings.data_dir / "runs" / "nobodyknows1" / "stray").touch()
    return run.id


def take(settings: Settings, target: Path, **how: Any) -> dict[str, Any]:
    """A backup."""
    return backup(settings, target, version="1", **how)


def names(path: Path) -> list[str]:
    """The members of an archive."""
    with tarfile.open(path) as tar:
        return tar.getnames()


def command(settings: Settings, *words: str, failpoints: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """`tunesmith ...` in a fresh process."""
    env = {**os.environ, "TUNESMITH_DATA_DIR": str(settings.data_dir)} | (
        {VARIABLE: str(failpoints)} if failpoints else {}
    )
    program = [sys.executable, "-W", "ignore", "-m", "studio", *words]
    return subprocess.run(program, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def things(settings: Settings) -> list[Path]:
    """All that lies in the data folder but the locks, which every command may make."""
    return sorted(path for path in settings.data_dir.rglob("*") if settings.locks_dir not in path.parents)


def run_names(settings: Settings) -> list[str]:
    """The runs in the records, which are whole."""
    with reading(settings.database_path) as connection:
        assert is_whole(connection)
        return [row[0] for row in connection.execute("SELECT name FROM runs ORDER BY position")]


def test_a_backup_of_a_working_studio_is_restored_on_another_machine(
    services: Services, run_id: str, tmp_path: Path
) -> None:
    target = tmp_path / "studio.tar"
    report = take(services.settings, target)
    assert report["ok"] and report["left_out"] == [] and report["bytes"] == target.stat().st_size
    assert target.stat().st_mode & 0o777 == 0o600 and sorted(tmp_path.glob("studio*")) == [target]
    other = Settings(data_dir=tmp_path / "other")
    other.data_dir.mkdir()
    assert restore(other, target, known_revisions())["ok"]
    database = open_records(other)
    database.close()
    assert run_names(other) == ["kept"]
    adapter = Path("runs", run_id, "adapter")
    assert manifest(other.data_dir / adapter) == manifest(services.settings.data_dir / adapter)
    assert not any("link" in name or "lock" in name or ".part" in name or "nobody" in name for name in names(target))


def test_the_records_alone_leave_the_files_of_the_studio_where_they_are(
    services: Services, run_id: str, tmp_path: Path
) -> None:
    take(services.settings, tmp_path / "records.tar", artifacts=False)
    assert names(tmp_path / "records.tar") == ["tunesmith.db", "manifest.json"]
    add_run(services, "later")
    services.db.close()
    restore(services.settings, tmp_path / "records.tar", known_revisions())
    assert run_names(services.settings) == ["kept"]
    assert (services.artifacts.run_dir(run_id) / "adapter" / "a.bin").exists()


def test_a_restore_keeps_what_was_there_and_begins_a_new_mark(services: Services, run_id: str, tmp_path: Path) -> None:
    settings = services.settings
    take(settings, tmp_path / "b.tar")
    add_run(services, "later")
    services.db.close()
    (settings.data_dir / "models").mkdir()
    report = restore(settings, tmp_path / "b.tar", known_revisions())
    kept = settings.data_dir / report["kept"]
    assert run_names(settings) == ["kept"] and (settings.data_dir / "models").is_dir()
    assert run_names(Settings(data_dir=kept)) == ["kept", "later"]
    assert (kept / "runs" / "nobodyknows1").is_dir() and (kept / "records.mark").is_file()
    open_records(settings).close()
    assert (read_mark(settings) or {})["event"] == 1


def test_an_existing_file_is_replaced_only_by_force(services: Services, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("mine")
    with pytest.raises(Refused, match="there already"):
        take(services.settings, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "mine"
    assert take(services.settings, tmp_path / "b.tar", force=True)["ok"]


def test_two_backups_to_one_file_do_not_mix(services: Services, tmp_path: Path) -> None:
    handle = hold(tmp_path / "b.tar.part")
    with pytest.raises(Conflict, match="Another backup"):
        take(services.settings, tmp_path / "b.tar")
    os.close(handle or 0)


def test_files_that_vanish_meanwhile_are_left_out_and_named(
    services: Services, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def vanishing(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("a.bin"):
            Path(path).unlink()
        return real(path, *rest, **more)

    monkeypatch.setattr("studio.core.package.os.open", vanishing)
    report = take(services.settings, tmp_path / "b.tar")
    monkeypatch.undo()
    assert report["left_out"] == [f"runs/{run_id}/adapter/a.bin"]
    services.db.close()
    assert restore(services.settings, tmp_path / "b.tar", known_revisions())["ok"]


def test_a_backup_on_a_full_disk_leaves_nothing_behind(services: Services, run_id: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 4) as place:
        fill(place, 100_000)
        with pytest.raises(DiskFull):
            take(services.settings, place / "b.tar")
        assert [path.name for path in place.iterdir()] == ["filler"]


@pytest.mark.parametrize("name", ["supervisor.lock", "web.lock", "gpu-0.lock"])
def test_a_restore_is_refused_while_a_process_serves_the_data_folder(
    services: Services, tmp_path: Path, name: str
) -> None:
    take(services.settings, tmp_path / "b.tar")
    handle = hold(services.settings.locks_dir / name, shared=True)
    with pytest.raises(Conflict, match="is at work"):
        restore(services.settings, tmp_path / "b.tar", known_revisions())
    os.close(handle or 0)
    services.db.close()
    assert restore(services.settings, tmp_path / "b.tar", known_revisions())["ok"]


def test_no_web_process_starts_while_a_backup_is_put_in_place(settings: Settings) -> None:
    handle = hold(settings.locks_dir / "web.lock")
    refused = command(settings, "web")
    assert refused.returncode == 3 and "being restored" in refused.stderr
    os.close(handle or 0)


def rewritten(source: Path, target: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """The archive with other members."""
    with tarfile.open(source) as tar:
        members = [(info, (tar.extractfile(info) or io.BytesIO()).read()) for info in tar]
    change(members)
    with tarfile.open(target, "w") as tar:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return target


def foreign(name: str, kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A member that we would not write."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info, b"x"


@pytest.mark.parametrize(
    "member",
    [
        foreign("../outside"),
        foreign("/outside"),
        foreign("runs/../../outside"),
        foreign("runs/abcdefghijkl/../../../outside"),
        foreign("runs/abcdefghijkl/link", tarfile.SYMTYPE),
        foreign("runs/abcdefghijkl/link", tarfile.LNKTYPE),
        foreign("runs/abcdefghijkl/device", tarfile.CHRTYPE),
        foreign("runs/abcdefghijkl", tarfile.DIRTYPE),
        foreign("runs/NOT-AN-ID/file"),
        foreign("models/evil.bin"),
        foreign("records.mark"),
        foreign("tunesmith.db"),
        foreign("runs/abcdefghijkl/not-in-the-manifest"),
    ],
    ids=lambda member: f"{member[0].name}-{member[0].type.decode()}",
)
def test_what_we_would_not_write_is_refused_before_anything_changes(
    services: Services, run_id: str, tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]
) -> None:
    take(services.settings, tmp_path / "b.tar")
    services.db.close()
    bad = rewritten(tmp_path / "b.tar", tmp_path / "bad.tar", lambda members: members.insert(0, member))
    before = things(services.settings)
    with pytest.raises(Refused) as refused:
        restore(services.settings, bad, known_revisions())
    assert refused.value.remedy and str(tmp_path) not in str(refused.value)
    assert things(services.settings) == before


def flip(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    info, data = members[1]
    members[1] = (info, data[:-1] + bytes([data[-1] ^ 1]))


def newer(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    info, data = members[-1]
    members[-1] = (info, json.dumps({**json.loads(data), "format": 2}).encode())


def nonsense(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[-1] = (members[-1][0], b"[" * 100_000)


@pytest.mark.parametrize(("change", "words"), [(flip, "damaged at"), (newer, "newer"), (nonsense, "no manifest")])
def test_a_changed_backup_is_refused_in_words(
    services: Services, run_id: str, tmp_path: Path, change: Any, words: str
) -> None:
    take(services.settings, tmp_path / "b.tar")
    services.db.close()
    bad = rewritten(tmp_path / "b.tar", tmp_path / "bad.tar", change)
    with pytest.raises(Refused, match=words):
        restore(services.settings, bad, known_revisions())
    assert run_names(services.settings) == ["kept"] and not (services.settings.data_dir / "restoring").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + b"\0" * 600])
def test_what_is_no_backup_at_all_is_refused(services: Services, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(Refused):
        restore(services.settings, tmp_path / "b.tar", known_revisions())
    with pytest.raises(Refused, match="no such file"):
        restore(services.settings, tmp_path / "nothing.tar", known_revisions())


def test_a_backup_that_is_cut_short_is_refused(services: Services, run_id: str, tmp_path: Path) -> None:
    take(services.settings, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    for length in range(len(whole) // 7, len(whole) - 10_240, len(whole) // 7):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(Refused):
            restore(services.settings, tmp_path / "cut.tar", known_revisions())


def test_records_of_a_newer_schema_are_not_put_in_place(services: Services, tmp_path: Path) -> None:
    take(services.settings, tmp_path / "b.tar")
    services.db.close()
    with pytest.raises(Refused, match="newer Tunesmith"):
        restore(services.settings, tmp_path / "b.tar", frozenset({"0001"}))


PLACES = ["restore.unpacked", "restore.decided", "restore.set_aside", "restore.placed", "restore.done"]


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_inside_a_restore_leaves_the_old_or_the_new_whole_and_the_next_start_says_so(
    services: Services, run_id: str, tmp_path: Path, place: str
) -> None:
    settings = services.settings
    take(settings, tmp_path / "b.tar")
    add_run(services, "later")
    services.db.close()
    (tmp_path / "armed").write_text(f"{place} kill")
    assert command(settings, "restore", str(tmp_path / "b.tar"), failpoints=tmp_path).returncode == -9
    open_records(settings).close()
    expected = ["kept", "later"] if place == "restore.unpacked" else ["kept"]
    assert run_names(settings) == expected
    assert (services.artifacts.run_dir(run_id) / "adapter" / "a.bin").exists()
    assert not (settings.data_dir / "restoring").exists() and not (settings.data_dir / "restore.json").exists()
    said = (settings.data_dir / "notice.json").read_text() if place != "restore.done" else "put in place"
    assert ("cut off" if place == "restore.unpacked" else "put in place") in said


@pytest.mark.parametrize("place", ["backup.copied", "backup.packed", "backup.done"])
def test_a_kill_inside_a_backup_leaves_the_old_file_or_the_new_one_and_the_next_one_works(
    services: Services, run_id: str, tmp_path: Path, place: str
) -> None:
    target = tmp_path / "b.tar"
    target.write_text("older")
    (tmp_path / "armed").write_text(f"{place} kill")
    assert command(services.settings, "backup", str(target), "--force", failpoints=tmp_path).returncode == -9
    if place != "backup.done":
        assert target.read_text() == "older"
    done = command(services.settings, "backup", str(target), "--force", "--json")
    assert json.loads(done.stdout)["ok"] and sorted(path.name for path in tmp_path.glob("b.tar*")) == ["b.tar"]


def test_both_commands_print_one_object_and_refuse_with_their_codes(services: Services, tmp_path: Path) -> None:
    settings, target = services.settings, str(tmp_path / "b.tar")
    assert json.loads(command(settings, "backup", target, "--records-only", "--json").stdout)["artifacts"] is False
    again = command(settings, "backup", target, "--json")
    assert (again.returncode, again.stdout) == (2, "") and "there already" in again.stderr
    assert json.loads(command(settings, "restore", target, "--json").stdout)["kept"].startswith("backups/")


def test_snapshots_are_made_when_due_and_the_oldest_go(services: Services) -> None:
    settings = services.settings.model_copy(update={"backup_hours": 1.0, "backup_kept": 2, "disk_floor_bytes": 0})
    assert keep_snapshots(services.settings) is None, "none without the setting"
    made = []
    for _ in range(3):
        path = keep_snapshots(settings)
        assert path is not None and keep_snapshots(settings) is None
        made.append(path)
        os.utime(path, (0, 0))
    assert sorted((settings.data_dir / "backups").iterdir()) == made[1:]
    with reading(made[-1]) as connection:
        owner = connection.execute("SELECT id FROM users").fetchone()
    assert owner == (LOCAL_USER,)
