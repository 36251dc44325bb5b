"""A small real file system for a test: tmpfs where this user may mount, else the test is skipped with the reason."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Path]:
    """`path` as a file system of its own with so much room."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode != 0:
        pytest.skip(f"a tmpfs can not be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path, leave: int) -> Path:
    """A file that takes all room at `path` but `leave` bytes; less, where somebody else writes meanwhile."""
    filler = path / "filler"
    size = shutil.disk_usage(path).free - leave
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        file.write(b"x" * size)
    return filler
