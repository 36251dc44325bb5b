"""`tunesmith restore`: a backup in the place of what is there, by renames that a kill can not leave half done.

Everything is verified and unpacked in a folder of its own first. Then `restore.json` is written: from that moment on
the restore is decided, and whoever opens the records next finishes it. All of it happens inside the data folder: where
that is a volume, it can not be renamed itself, and beside it there is another disk.
"""

import errno
import os
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from studio.core.artifacts import read_json, sync, write_json
from studio.core.boot import Check, check_records, refuse
from studio.core.copies import backups_dir, stamp
from studio.core.disk import free_bytes
from studio.core.errors import BootRefused, Conflict, DiskFull, Refused, StudioError
from studio.core.failpoints import failpoint
from studio.core.locks import file_lock, hold
from studio.core.mark import MARK
from studio.core.package import DATABASE, FOLDERS, examine, unpack
from studio.core.settings import Settings

JOURNAL = "restore.json"
STAGED = "restoring"
# What belongs to the database that is set aside and must never stand beside another one.
BESIDE = (f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", MARK)


def restore(settings: Settings, source: Path, known: frozenset[str]) -> dict[str, Any]:
    """Put the backup `source` in the place of what is there; the report names where that was kept.

    Nothing is changed before all of `source` was verified. Raises Refused where it is no whole backup or of a newer
    schema than `known`, Conflict while a process serves the data folder, DiskFull.
    """
    began = time.monotonic()
    with _alone(settings):
        finish(settings)
        staged = settings.data_dir / STAGED
        try:
            found = _stage(settings, source, staged, known)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        failpoint("restore.unpacked")
        kept = f"before-restore-{stamp()}"
        _decide(settings, kept, artifacts=bool(found["artifacts"]))
        failpoint("restore.decided")
        finish(settings)
    report = {name: found[name] for name in ("tunesmith", "schema", "made_at", "artifacts")}
    seconds = round(time.monotonic() - began, 2)
    return {"ok": True, **report, "files": len(found["files"]), "kept": f"backups/{kept}", "seconds": seconds}


def finish(settings: Settings) -> str:
    """End a restore that was cut off, forwards where it was decided, else backwards. What was done, in words.

    The caller holds `migrate.lock`, so no restore is under way.
    """
    staged = settings.data_dir / STAGED
    journal = read_json(settings.data_dir / JOURNAL)
    if journal is None:
        if not staged.exists():
            return ""
        shutil.rmtree(staged)
        return "A restore was cut off before it changed anything: the records are the old ones."
    aside = backups_dir(settings) / journal["kept"]
    _set_aside(settings.data_dir, staged, aside, journal)
    failpoint("restore.set_aside")
    for name in journal["new"]:
        if (staged / name).exists():
            (staged / name).rename(settings.data_dir / name)
    sync(settings.data_dir)
    failpoint("restore.placed")
    shutil.rmtree(staged, ignore_errors=True)
    (settings.data_dir / JOURNAL).unlink()
    sync(settings.data_dir)
    failpoint("restore.done")
    return f"A backup was put in place; what was here before is kept in backups/{journal['kept']}."


def _set_aside(data_dir: Path, staged: Path, aside: Path, journal: dict[str, Any]) -> None:
    """Move the old things away. What has no new one waiting for its place any more is the new one already: it stays."""
    aside.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (*BESIDE, *journal["new"]):
        waits = name not in journal["new"] or (staged / name).exists()
        if waits and (data_dir / name).exists():
            (data_dir / name).rename(aside / name)
    sync(aside)
    sync(data_dir)


def _decide(settings: Settings, kept: str, *, artifacts: bool) -> None:
    new = [DATABASE, *(FOLDERS if artifacts else ())]
    write_json(settings.data_dir / JOURNAL, {"new": new, "kept": kept, "at": time.time()})


def _stage(settings: Settings, source: Path, staged: Path, known: frozenset[str]) -> dict[str, Any]:
    """Verify and unpack into `staged`; the manifest."""
    try:
        with tarfile.open(source, "r:") as tar:
            found = examine(tar)
            if sum(fact["size"] for fact in found["files"].values()) > free_bytes(settings):
                raise DiskFull(
                    "The backup does not fit on the disk; nothing was changed.", "Make room, then try again."
                )
            staged.mkdir(mode=0o700)
            unpack(tar, found["files"], staged)
    except (tarfile.TarError, EOFError) as error:
        raise Refused("This file is no backup, or it is damaged.", "Choose another one.") from error
    except OSError as error:
        raise _translated(error) from error
    if found["artifacts"]:
        for folder in FOLDERS:
            (staged / folder).mkdir(exist_ok=True)
    for place, _, _ in os.walk(staged):
        sync(Path(place))
    _refuse(check_records(settings.model_copy(update={"data_dir": staged}), known, thorough=True))
    return found


def _refuse(checks: Iterable[Check]) -> None:
    """The boot checks on the unpacked records, as a refusal of the backup."""
    try:
        refuse(checks)
    except BootRefused as refused:
        raise Refused("The backup can not be used: " + refused.problem, "Choose another one.") from refused


def _translated(error: OSError) -> StudioError:
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return Refused("There is no such file.", "Name the file that `tunesmith backup` wrote.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("The disk is full; nothing was changed.", "Make room, then try again.")
    return Refused(f"The backup can not be read: {error.strerror or 'damaged'}.", "Choose another one.")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold every lock of the data folder: no web process, no worker, no trainer, and none can start."""
    names = {"supervisor.lock", "web.lock", *(path.name for path in settings.locks_dir.glob("gpu-*.lock"))}
    with ExitStack() as held:
        for name in sorted(names):
            handle = hold(settings.locks_dir / name)
            if handle is None:
                who = {"web.lock": "web process", "supervisor.lock": "worker"}.get(name, "trainer")
                raise Conflict(f"A {who} is at work on this data folder.", "Stop Tunesmith, then restore.")
            held.callback(os.close, handle)
        held.enter_context(file_lock(settings.locks_dir / "migrate.lock"))
        yield
