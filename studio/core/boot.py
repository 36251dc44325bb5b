"""What must hold before a process works on a data folder. Web process, worker and `doctor` ask the same."""

import errno
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from studio.core.copies import DAMAGED, is_whole, reading, revision_of
from studio.core.db import DRIVER, journal_mode
from studio.core.disk import MIB, amount, existing, free_bytes
from studio.core.errors import BootRefused, Refused
from studio.core.mark import MARK, Scalar, behind, day, read_mark, read_values
from studio.core.settings import GIB, Settings

# File systems on which SQLite's locks or its WAL can not be trusted: network, clustered, shared with a virtual host.
REFUSED = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs", "gpfs", "beegfs",
    "orangefs", "davfs", "ncpfs", "fakeowner", "grpcfuse", "osxfs", "drvfs", "vboxsf", "vmhgfs", "prl_fs", "webdav",
}  # fmt: skip
LEAST_FREE = 32 * MIB
CHECKED_BYTES = GIB  # a bigger file takes seconds: only `doctor` reads it through
WAY_ON = f"To go on deliberately with what is there now, delete {MARK} in the data folder."


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and where it stands in the way a sentence and a way out."""

    name: str
    found: str
    problem: str = ""
    remedy: str = ""


def refuse(checks: Iterable[Check]) -> None:
    """Raise `BootRefused` for the first check that has a problem; later ones are then not looked at."""
    for check in checks:
        if check.problem:
            raise BootRefused(check.problem, check.remedy)


def check_place(settings: Settings) -> Iterator[Check]:
    """Where the data folder lies: file system, free disk, permissions. The folder may be missing still."""
    place = existing(settings.data_dir)
    yield check_file_system(place)
    yield _check_free(settings)
    yield _check_permissions(settings, place)


def check_file_system(place: Path) -> Check:
    """The type of the file system that holds `place`, as the kernel calls it."""
    real = place.resolve()
    mounts = [part for part in psutil.disk_partitions(all=True) if real.is_relative_to(part.mountpoint)]
    found = max(reversed(mounts), key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"
    if found not in REFUSED and not found.startswith("fuse"):
        return Check("file system", found)
    problem = f"The data folder lies on {found}, where SQLite is not safe."
    return Check("file system", found, problem, "Set TUNESMITH_DATA_DIR to a folder on a local disk.")


def _check_free(settings: Settings) -> Check:
    found = free_bytes(settings)
    if found >= LEAST_FREE:
        return Check("free disk", amount(found))
    return Check("free disk", amount(found), f"Only {amount(found)} are free for the data folder.", "Make room.")


def _check_permissions(settings: Settings, place: Path) -> Check:
    """Folder and files can be written; a file is made and removed, because a volume may be read-only for all."""
    remedy = "Give this user the right to write there, or set TUNESMITH_DATA_DIR to another folder."
    for path in (settings.database_path, settings.queue_path):
        if path.exists() and not os.access(path, os.W_OK):
            return Check("permissions", "read-only", f"{path.name} can not be written.", remedy)
    refused = _refusal(place, probed=place == settings.data_dir)
    if refused:
        return Check("permissions", "read-only", f"The data folder can not be written: {refused}.", remedy)
    return Check("permissions", "can be written")


def _refusal(place: Path, *, probed: bool) -> str:
    """Why nothing can be written to `place`; empty where it can. Above a missing data folder nothing is tried."""
    if not probed:
        return "" if os.access(place, os.W_OK) else os.strerror(errno.EACCES)
    probe = place / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        return error.strerror or "refused"
    return ""


def check_records(settings: Settings, known: Iterable[str], *, thorough: bool = False) -> Iterator[Check]:
    """The records as they lie there: version of SQLite, missing, damaged, from a newer program, older than they were.

    `known` are the schema's revisions that this program can read; `thorough` reads also a big file through. The file is
    opened for reading only, and not at all where it is missing. Raises Unavailable where it stays busy.
    """
    safe = journal_mode() == "WAL"
    why = "" if safe else ", because the WAL of this version can lose writes"
    yield Check("sqlite", f"{DRIVER.sqlite_version}, {journal_mode()} journal{why}")
    mark = read_mark(settings)
    if not settings.database_path.exists():
        yield _missing(mark)
        return
    try:
        yield from _look_inside(settings, mark, frozenset(known), thorough)
    except Refused as refused:
        yield Check("records", "not readable", refused.problem, refused.remedy)


def _look_inside(settings: Settings, mark: dict[str, Any] | None, known: frozenset[str], thorough: bool) -> list[Check]:
    """The checks on the open file, as far as the first problem: what comes behind it would make no sense."""
    with reading(settings.database_path) as connection:
        checks = [_check_whole(settings, connection, thorough)]
        if not checks[-1].problem:
            checks.append(_check_revision(revision_of(connection), known))
        if not checks[-1].problem:
            checks.append(_check_age(settings, mark, lambda query: connection.execute(query).fetchone()[0]))
    return checks


def _missing(mark: dict[str, Any] | None) -> Check:
    if mark is None:
        return Check("records", "none yet")
    problem = f"The records are missing: tunesmith.db was here on {day(mark)}."
    return Check("records", "missing", problem, f"Put it back, or run `tunesmith restore FILE`. {WAY_ON}")


def _check_whole(settings: Settings, connection: Any, thorough: bool) -> Check:
    size = settings.database_path.stat().st_size
    if size > CHECKED_BYTES and not thorough:
        return Check("records", f"{amount(size)}, read through by `tunesmith doctor` only")
    began = time.monotonic()
    if not is_whole(connection):
        return Check("records", "damaged", *DAMAGED)
    return Check("records", f"{amount(size)}, whole (checked in {time.monotonic() - began:.2f} s)")


def _check_revision(found: str | None, known: frozenset[str]) -> Check:
    if found is None or found in known:
        return Check("schema", found or "none yet")
    problem = "The records were written by a newer Tunesmith."
    return Check("schema", found, problem, "Install that version, or choose another data folder.")


def _check_age(settings: Settings, mark: dict[str, Any] | None, scalar: Scalar) -> Check:
    """Not other records than were here, and none of the values below its mark."""
    if mark is None:
        return Check("age", "no mark yet")
    values = read_values(scalar)
    if behind(values, mark):  # looked at again, mark first: a worker that leaves in order changes both
        mark = read_mark(settings) or {}
        values = read_values(scalar)
    late = behind(values, mark)
    if not late:
        return Check("age", f"event {values['event']}, not behind its mark")
    problem = f"The records are older than they were on {day(mark)}{_told(values, mark, late)}."
    if late == "created":
        problem = f"These are not the records that were here on {day(mark)}."
    remedy = "Put tunesmith.db back with the tunesmith.db-wal that was beside it, or run `tunesmith restore FILE`."
    return Check("age", "behind its mark", problem, f"{remedy} {WAY_ON}")


def _told(values: dict[str, Any], mark: dict[str, Any], name: str) -> str:
    return f" ({name} {values[name] or 0}, was {mark[name]})" if name in ("event", "message") else ""
