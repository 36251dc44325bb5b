"""`tunesmith backup`: one file of everything that can not be fetched again, taken while the studio works."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.artifacts import sync
from studio.core.copies import copy_records, reading, revision_of
from studio.core.errors import Conflict, DiskFull, Refused
from studio.core.failpoints import failpoint
from studio.core.package import DATABASE, FOLDERS, Packer
from studio.core.settings import Settings

# The folders that belong to rows: what a run made meanwhile, or nobody knows, stays out.
IDS = {"datasets": "SELECT id FROM dataset_versions ORDER BY id", "runs": "SELECT id FROM runs ORDER BY id"}


def backup(
    settings: Settings, target: Path, *, version: str, artifacts: bool = True, force: bool = False
) -> dict[str, Any]:
    """Write the records, and with `artifacts` the datasets and runs, to the file `target`; the report.

    `target` appears whole or not at all; one that is there is replaced with `force` only. Models are left out: they can
    be fetched again. Raises Refused, Conflict where another backup writes `target`, Unavailable, DiskFull.
    """
    if not settings.database_path.exists():
        raise Refused("There are no records to back up.", "Set TUNESMITH_DATA_DIR to the folder that has them.")
    if target.is_dir() or (target.exists() and not force):
        raise Refused("A file of that name is there already.", "Choose another name, or say --force.")
    began = time.monotonic()
    try:
        with _beside(target) as (part, path, copy):
            copy_records(settings.database_path, copy)
            failpoint("backup.copied")
            manifest = _pack(settings, part, copy, {"tunesmith": version, "artifacts": artifacts})
            size = part.tell()
            failpoint("backup.packed")
            path.replace(target)
            sync(target.parent)
            failpoint("backup.done")
    except OSError as error:
        raise _translated(error) from error
    report = {name: manifest[name] for name in ("schema", "artifacts", "left_out")}
    seconds = round(time.monotonic() - began, 2)
    return {
        "ok": True,
        "file": target.name,
        "bytes": size,
        "files": len(manifest["files"]),
        **report,
        "seconds": seconds,
    }


def _pack(settings: Settings, part: BinaryIO, copy: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The archive, from a copy of one moment: files are read after it, so every row's files are those or newer ones."""
    with reading(copy) as connection:
        schema = revision_of(connection)
        ids = {name: [str(row[0]) for row in connection.execute(query)] for name, query in IDS.items()}
    packer = Packer(part)
    packer.add(DATABASE, copy)
    for name in FOLDERS if facts["artifacts"] else ():
        for one in ids[name]:
            packer.add_folder(f"{name}/{one}", settings.data_dir / name / one)
    manifest = packer.close({**facts, "schema": schema})
    part.flush()
    os.fsync(part.fileno())
    return manifest


@contextmanager
def _beside(target: Path) -> Iterator[tuple[BinaryIO, Path, Path]]:
    """The file that becomes `target`, locked and empty, its path, and a path for the copy of the records.

    What a killed backup left under these names is used again.
    """
    path, copy = target.with_name(target.name + ".part"), target.with_name(target.name + ".records")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "r+b") as part:
        _lock(part, path)
        part.truncate()
        try:
            yield part, path, copy
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            copy.unlink(missing_ok=True)


def _lock(part: BinaryIO, path: Path) -> None:
    """Raises Conflict where another backup holds the file, or has just renamed it to its place."""
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(part.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        mine = False
    if not mine:
        raise Conflict("Another backup writes this file now.", "Wait for it, or choose another name.")


def _translated(error: OSError) -> DiskFull | Refused:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("The disk is full; no backup was made.", "Make room, or choose a file on another disk.")
    return Refused(f"The backup can not be written: {error.strerror or 'refused'}.", "Choose another place.")
