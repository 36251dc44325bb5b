"""Room on the disk: the floor below which no run begins, and the ballast that is given up when it fills.

The ballast is a file of real bytes. A full disk would keep even the records from saying that it is full: dropping the
ballast gives them room for that, and for the person's next steps.
"""

import contextlib
import os
import shutil
from pathlib import Path

from studio.core.artifacts import sync
from studio.core.failpoints import failpoint
from studio.core.settings import GIB, Settings

MIB = 1024**2


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def free_bytes(settings: Settings) -> int:
    """What this process may still write to the data folder's disk; blocks kept for root do not count."""
    return shutil.disk_usage(existing(settings.data_dir)).free


def has_room(settings: Settings) -> bool:
    """Whether a run may begin: the free disk is not below the floor."""
    return free_bytes(settings) >= settings.disk_floor_bytes


def room_words(settings: Settings) -> tuple[str, str] | None:
    """Problem and remedy for people where runs wait for room; None where there is enough."""
    free, floor = free_bytes(settings), settings.disk_floor_bytes
    if free >= floor:
        return None
    problem = f"Only {amount(free)} are free for the data folder, so no run begins."
    return problem, f"Make room: queued runs begin by themselves when {amount(floor)} are free."


def no_room_for(settings: Settings, number: int) -> tuple[str, str] | None:
    """Problem and remedy where `number` more bytes do not fit above the floor; None where they do."""
    free, floor = free_bytes(settings), settings.disk_floor_bytes
    if number + floor <= free:
        return None
    left = amount(max(0, free - floor))
    problem = f"{amount(number)} are to be fetched; {left} are free for it on the data folder's disk."
    return problem, f"Free {amount(number + floor - free)}, or choose a smaller model."


def amount(number: int) -> str:
    """Bytes as people read them."""
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number // MIB} MiB"


def ballast_path(settings: Settings) -> Path:
    """Where the ballast lies."""
    return settings.data_dir / "ballast"


def keep_ballast(settings: Settings) -> bool:
    """Drop the ballast where the disk runs full, make it again where there is plenty. Whether it is there now.

    Below a quarter of the floor it is dropped; it is made only where the floor stays free beside it. Never raises for
    a full disk: ballast that does not fit is not there.
    """
    path, free = ballast_path(settings), free_bytes(settings)
    there = path.is_file() and path.stat().st_size == settings.ballast_bytes
    if there and settings.ballast_bytes:
        if free < settings.disk_floor_bytes / 4:
            drop_ballast(settings)
            return False
        return True
    drop_ballast(settings)
    if not settings.ballast_bytes or free <= settings.disk_floor_bytes + settings.ballast_bytes:
        return False
    return _make(path, settings.ballast_bytes)


def drop_ballast(settings: Settings) -> int:
    """Give the ballast up, because a write found the disk full. The bytes that this freed; any process may call it."""
    path = ballast_path(settings)
    with contextlib.suppress(FileNotFoundError):
        size = path.stat().st_size
        path.unlink()
        return size
    return 0


def _make(path: Path, size: int) -> bool:
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            _allocate(file.fileno(), size)
            os.fsync(file.fileno())
        failpoint("ballast.made", bytes=size)
        part.replace(path)
        sync(path.parent)
    except OSError:
        part.unlink(missing_ok=True)
        return False
    return True


def _allocate(handle: int, size: int) -> None:
    """Blocks that are really there, not a hole."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
        return
    for begin in range(0, size, MIB):
        os.write(handle, bytes(min(MIB, size - begin)))
