"""Resumable states of a run: sealed last, verified before they are used, rotated by what is valid.

A checkpoint is the folder `checkpoints/checkpoint-<step>/`. It counts from the moment its `COMPLETE.json` stands: that
file names every other one with size and sha256, and is written last.
"""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from studio.core.artifacts import manifest, read_json, sha256_file, sync, write_json
from studio.core.failpoints import failpoint

SEAL = "COMPLETE.json"
PREFIX = "checkpoint-"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A sealed state. `best` says that no earlier check on the held-out examples was better."""

    folder: Path
    step: int
    claim: int
    spec: str
    best: bool
    at: float
    files: dict[str, dict[str, Any]]

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(int(facts["size"]) for facts in self.files.values())


def spec_hash(config: dict[str, Any], repo: str, revision: str, dataset_sha256: str) -> str:
    """The hash of what may not change between two attempts of a run."""
    text = json.dumps([config, repo, revision, dataset_sha256], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def folder_of(root: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return root / f"{PREFIX}{step}"


def seal(folder: Path, step: int, claim: int, spec: str, best: bool = False) -> Checkpoint:
    """Make every file of `folder` durable, then write the seal. Raises OSError where the disk is full."""
    run = folder.parent.parent.name
    failpoint("checkpoint.files", run=run, claim=claim, step=step)
    files = manifest(folder)
    for name in files:
        sync(folder / name)
    sync(folder)
    failpoint("checkpoint.synced", run=run, claim=claim, step=step)
    found: dict[str, Any] = {
        "step": step,
        "claim": claim,
        "spec": spec,
        "best": best,
        "at": time.time(),
        "files": files,
    }
    write_json(folder / SEAL, found)
    sync(folder.parent)
    failpoint("checkpoint.sealed", run=run, claim=claim, step=step)
    return Checkpoint(folder=folder, **found)


def sealed(root: Path) -> list[Checkpoint]:
    """All that carry a seal, by step; their files are not looked at."""
    found = [_read(folder) for folder in root.glob(f"{PREFIX}*")] if root.is_dir() else []
    return sorted((one for one in found if one is not None), key=lambda one: one.step)


def _read(folder: Path) -> Checkpoint | None:
    try:
        return Checkpoint(folder=folder, **read_json(folder / SEAL))
    except (OSError, ValueError, TypeError):  # no seal, or not one of ours
        return None


def is_whole(found: Checkpoint) -> bool:
    """Whether every file is there as it was sealed: sizes first, then hashes."""
    try:
        sizes = all((found.folder / n).stat().st_size == f["size"] for n, f in found.files.items())
        return sizes and all(sha256_file(found.folder / n) == f["sha256"] for n, f in found.files.items())
    except OSError:
        return False


def verified(folder: Path, spec: str) -> Checkpoint | None:
    """The checkpoint in `folder`, where it is sealed, of this very run, and whole."""
    found = _read(folder)
    return found if found is not None and found.spec == spec and found.files and is_whole(found) else None


def newest(root: Path, spec: str) -> Checkpoint | None:
    """The newest verified one."""
    checked = (verified(one.folder, spec) for one in reversed(sealed(root)))
    return next((one for one in checked if one is not None), None)


def remove(folder: Path) -> None:
    """Remove a checkpoint or what is left of one. The seal goes first: no kill leaves it without its files."""
    (folder / SEAL).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def rotate(root: Path, spec: str) -> None:
    """Keep the two newest valid ones and the best; remove the others, and what was never sealed."""
    ours = [one for one in reversed(sealed(root)) if one.spec == spec]
    valid = list(islice((one for one in ours if is_whole(one)), KEPT))
    kept = {one.folder for one in (*valid, *[one for one in ours if one.best][:1])}
    failpoint("checkpoint.rotating", run=root.parent.name)
    for folder in sorted(root.glob(f"{PREFIX}*")):
        if folder not in kept:
            remove(folder)
    failpoint("checkpoint.rotated", run=root.parent.name)
