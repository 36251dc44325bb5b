"""What runs and datasets take on the disk, and how that is given back."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from studio.core.artifacts import Artifacts, folder_bytes, is_id
from studio.core.failpoints import failpoint
from studio.core.services import Services
from studio.core.stores.line import TombstoneStore
from studio.core.stores.runs import Run

KEPT_SECONDS = 5
ORPHAN_SECONDS = 60
GOING = ".gone-"


@dataclass(frozen=True)
class Storage:
    """Bytes of one run: its adapter, its checkpoints, and the rest (log, records of what it ran with)."""

    adapter: int
    checkpoints: int
    rest: int

    @property
    def whole(self) -> int:
        """All of it."""
        return self.adapter + self.checkpoints + self.rest


def of_run(services: Services, run: Run) -> Storage:
    """What a run takes; asked once for all pages in a few seconds."""
    return _of_run(services.artifacts.run_dir(run.id), int(time.monotonic() / KEPT_SECONDS))


def of_dataset(services: Services, version_id: str) -> int:
    """Bytes of one version of a dataset: the file as it came, and what was read out of it."""
    return _bytes_at(services.artifacts.dataset_dir(version_id), int(time.monotonic() / KEPT_SECONDS))


@lru_cache(maxsize=64)
def _of_run(folder: Path, moment: int) -> Storage:
    del moment
    adapter, checkpoints = folder_bytes(folder / "adapter"), folder_bytes(folder / "checkpoints")
    return Storage(adapter, checkpoints, folder_bytes(folder) - adapter - checkpoints)


@lru_cache(maxsize=256)
def _bytes_at(folder: Path, moment: int) -> int:
    del moment
    return folder_bytes(folder)


def remove_checkpoints(artifacts: Artifacts, run_id: str) -> int:
    """Remove an ended run's checkpoints; gives the bytes that came free."""
    folder = artifacts.checkpoints_dir(run_id)
    freed = folder_bytes(folder)
    remove(folder)
    _of_run.cache_clear()
    return freed


def remove(folder: Path) -> None:
    """Rename, then remove: nobody ever sees half a folder, and a kill in between is finished by `finish_removals`."""
    if not folder.exists():
        return
    going = folder.with_name(f"{GOING}{folder.name}-{time.monotonic_ns()}")
    folder.rename(going)
    failpoint("delete.set_aside", folder=folder.name)
    shutil.rmtree(going, ignore_errors=True)
    failpoint("delete.files", folder=folder.name)


def finish_removals(artifacts: Artifacts, tombstones: TombstoneStore, now: float | None = None) -> None:
    """Finish deletions that a kill cut off, and sweep folders that no run has, or none any more."""
    for run_id in tombstones.unfinished():
        remove(artifacts.run_dir(run_id))
        tombstones.removed(run_id)
    sweep_folders(artifacts.runs_dir(), tombstones.with_files, now)


def sweep_folders(folder: Path, known: Callable[[], set[str]], now: float | None = None) -> None:
    """Remove what is half removed below `folder`, and folders of ids that are not `known` and older than a minute."""
    names: set[str] | None = None
    for one in list(folder.iterdir()) if folder.is_dir() else []:
        if one.name.startswith(GOING):
            shutil.rmtree(one, ignore_errors=True)
            continue
        if not is_id(one.name) or _age(one, now) < ORPHAN_SECONDS:
            continue
        names = known() if names is None else names
        if one.name not in names:
            remove(one)


def _age(folder: Path, now: float | None) -> float:
    try:
        return (time.time() if now is None else now) - folder.stat().st_mtime
    except OSError:
        return 0.0
