"""Where files lie in the data dir, and how they are written: beside their place, fsynced, renamed.

Existence means completeness: a reader never sees half a file or half a folder.
"""

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.failpoints import failpoint

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def new_id() -> str:
    """A fresh id: 12 characters of lowercase base32 (60 random bits), safe as a folder's name and in an address."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def is_id(text: str) -> bool:
    """Whether `text` has the shape of `new_id`: everything else is refused before it touches the disk."""
    return len(text) == 12 and set(text) <= set(_ALPHABET)


PUBLISHED = ("adapter_model.safetensors", "config.json")
"""What a run leaves that can answer: an adapter has the first, a run that trained the whole model the second."""


def is_published(folder: Path) -> bool:
    """Whether a run's folder of what it made holds an adapter or a model; it comes there whole."""
    return any((folder / name).is_file() for name in PUBLISHED)


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that readers see the old file or the new one, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as out:
            out.write(data)
            out.flush()
            failpoint("file.written", file=path.name)
            os.fsync(out.fileno())
        failpoint("file.synced", file=path.name)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)
    failpoint("file.renamed", file=path.name)


def write_json(path: Path, value: Any) -> None:
    """`write_whole` of a JSON object, refusing NaN and infinity."""
    write_whole(path, json.dumps(value, indent=1, allow_nan=False).encode())


def read_json(path: Path) -> Any:
    """The JSON in `path`; None where there is no such file."""
    return json.loads(path.read_bytes()) if path.is_file() else None


def sync(path: Path) -> None:
    """Make `path` durable: what was written to a file, or the renames inside a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """The hash of a file, read in pieces."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """`{relative name: {"size": bytes, "sha256": hex}}` of every file below `folder`, read back from disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256_file(path)} for path in files}


def folder_bytes(folder: Path) -> int:
    """How many bytes lie below `folder`, links not followed; what vanishes meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            try:
                total += 0 if path.is_symlink() else path.stat().st_size
            except OSError:
                continue
    return total


def publish_dir(temporary: Path, final: Path) -> None:
    """Fsync every file of `temporary`, then rename it to `final`; what stood there before is removed first."""
    for path in temporary.rglob("*"):
        if path.is_file():
            sync(path)
    failpoint("folder.synced", folder=final.name)
    if final.exists():
        shutil.rmtree(final)
    failpoint("folder.cleared", folder=final.name)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(final)
    sync(final.parent)
    failpoint("folder.renamed", folder=final.name)


@dataclass(frozen=True)
class Artifacts:
    """Paths below one data dir. Folders are named by ids, never by what a person typed."""

    data_dir: Path

    def run_dir(self, run_id: str) -> Path:
        """`runs/<id>/`: spec.json, run.lock, train.log, adapter/, result.json."""
        return self.data_dir / "runs" / run_id

    def runs_dir(self) -> Path:
        """One folder for each run."""
        return self.data_dir / "runs"

    def spec_path(self, run_id: str) -> Path:
        """What the person ordered, written before the run's row: the trainer could start from it alone."""
        return self.run_dir(run_id) / "spec.json"

    def checkpoints_dir(self, run_id: str) -> Path:
        """Resumable states, one folder each."""
        return self.run_dir(run_id) / "checkpoints"

    def adapter_dir(self, run_id: str) -> Path:
        """The published adapter with its tokenizer and template."""
        return self.run_dir(run_id) / "adapter"

    def log_path(self, run_id: str) -> Path:
        """What the run's trainers print."""
        return self.run_dir(run_id) / "train.log"

    def result_path(self, run_id: str) -> Path:
        """Written last by a trainer that has proved its success."""
        return self.run_dir(run_id) / "result.json"

    def failure_path(self, run_id: str) -> Path:
        """Written by a trainer that knows why it failed."""
        return self.run_dir(run_id) / "failure.json"

    def run_lock(self, run_id: str) -> Path:
        """Held by every living process of the run."""
        return self.run_dir(run_id) / "run.lock"

    def datasets_dir(self) -> Path:
        """One folder for each version of a dataset."""
        return self.data_dir / "datasets"

    def dataset_dir(self, version_id: str) -> Path:
        """`datasets/<version id>/`: the original files, recipe.json, data.parquet, dropped.jsonl, report.json."""
        return self.datasets_dir() / version_id

    def data_parquet(self, version_id: str) -> Path:
        """The canonical examples of a dataset version."""
        return self.dataset_dir(version_id) / "data.parquet"

    def tokenised_dir(self) -> Path:
        """One folder for each version of a dataset, with its examples as trainers tokenised them. May be deleted."""
        return self.data_dir / "tokenised"

    def report_path(self, version_id: str) -> Path:
        """How the file was read."""
        return self.dataset_dir(version_id) / "report.json"

    def upload_dir(self) -> Path:
        """Where uploads stand, one folder each, between their arrival and their dataset."""
        return self.data_dir / "inspected"
