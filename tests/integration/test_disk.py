"""The disk fills up: ballast, floor, and records that stay whole. On a real small file system."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core import disk
from studio.core.copies import copy_records, reading
from studio.core.errors import BootRefused, DiskFull
from studio.core.migrate import open_records, prepare_data_dir
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.users import LOCAL_USER
from tests.integration.mounts import fill, small_disk
from tests.integration.records import add_run
from worker.upkeep import Upkeep

MIB = 1024**2


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Settings]:
    """A data dir on a disk of 80 MiB, with a floor of 40 and ballast of 8."""
    with small_disk(tmp_path / "small", 80) as place:
        yield Settings(data_dir=place / "data", disk_floor_bytes=40 * MIB, ballast_bytes=8 * MIB)


@pytest.fixture
def services(small: Settings) -> Iterator[Services]:
    """Open stores on the small disk."""
    opened = open_services(small)
    yield opened
    opened.db.close()
    opened.bell.huey.storage.close()


def test_ballast_is_real_given_up_when_the_disk_fills_and_made_again_with_plenty(small: Settings) -> None:
    prepare_data_dir(small)
    free = disk.free_bytes(small)
    assert disk.keep_ballast(small)
    assert free - disk.free_bytes(small) >= 8 * MIB
    filler = fill(small.data_dir, 5 * MIB)
    assert not disk.keep_ballast(small)
    assert disk.free_bytes(small) >= 13 * MIB
    assert not disk.keep_ballast(small), "less than floor and ballast is free"
    filler.unlink()
    assert disk.keep_ballast(small)


def test_ballast_of_another_size_is_made_anew_and_none_is_kept_at_zero(small: Settings) -> None:
    prepare_data_dir(small)
    disk.keep_ballast(small)
    smaller = small.model_copy(update={"ballast_bytes": MIB})
    assert disk.keep_ballast(smaller) and disk.ballast_path(small).stat().st_size == MIB
    assert not disk.keep_ballast(small.model_copy(update={"ballast_bytes": 0}))
    assert not disk.ballast_path(small).exists()


def test_below_the_floor_no_run_begins_and_the_page_says_why(small: Settings) -> None:
    prepare_data_dir(small)
    assert disk.has_room(small) and disk.room_words(small) is None
    fill(small.data_dir, 20 * MIB)
    assert not disk.has_room(small)
    problem, remedy = disk.room_words(small) or ("", "")
    assert problem.startswith("Only 20 MiB are free") and "40 MiB" in remedy


def test_records_on_a_full_disk_say_so_stay_whole_and_go_on_when_the_ballast_goes(services: Services) -> None:
    settings = services.settings
    assert disk.keep_ballast(settings)
    run = add_run(services)
    fill(settings.data_dir, 0)
    with pytest.raises(DiskFull):
        for number in range(200):
            add_run(services, f"{number} " + "long " * 2000)
    assert services.runs.get(run.id, LOCAL_USER).state == "queued"
    upkeep = Upkeep(settings, services.db)
    upkeep.round()
    assert not disk.ballast_path(settings).exists()
    assert add_run(services, "there is room").name == "there is room"
    with reading(settings.database_path) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)


def test_a_copy_that_does_not_fit_leaves_nothing_behind(services: Services) -> None:
    settings = services.settings
    for number in range(20):
        add_run(services, f"{number} " + "long " * 20000)
    fill(settings.data_dir, MIB)
    with pytest.raises(DiskFull):
        copy_records(settings.database_path, settings.data_dir / "copy.db")
    assert not list(settings.data_dir.glob("copy*"))


def test_a_start_with_next_to_no_room_is_refused_once_the_ballast_does_not_help(small: Settings) -> None:
    prepare_data_dir(small)
    disk.keep_ballast(small)
    filler = fill(small.data_dir, 26 * MIB)
    prepare_data_dir(small)
    assert not disk.ballast_path(small).exists(), "the ballast made the room that was missing"
    filler.rename(small.data_dir / "first")
    fill(small.data_dir, 10 * MIB)
    with pytest.raises(BootRefused, match="Only 10 MiB are free"):
        prepare_data_dir(small)


def test_a_read_only_volume_is_refused(small: Settings) -> None:
    open_records(small).close()
    place = small.data_dir.parent
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    with pytest.raises(BootRefused, match="Read-only file system"):
        prepare_data_dir(small)
