"""Examples that an earlier attempt tokenised, kept by a hash of all that they depend on.

A run that is resumed, retried or cloned reads them instead of making them anew. What is kept is no record: it is
checked by its own hashes when it is read, made anew where anything is wrong with it, and never a reason to fail.
"""

import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset

from studio.core.artifacts import folder_bytes, new_id, read_json, sha256_file
from studio.core.config import TrainingConfig
from studio.core.examples import from_row, to_row
from studio.core.model_folder import TEXTS
from studio.core.settings import GIB
from studio.core.tokenizer import Chat
from worker.trainer import prepare as making
from worker.trainer.job import Job, Shelf
from worker.trainer.prepare import Part, Prepared, prepare

log = logging.getLogger("tunesmith.trainer")
FORMAT = 1
FACTS = "facts.json"
SPARE_BYTES = GIB  # stay free
COUNTS = ("cut", "left_out", "too_long", "refused", "refusal")
LIBRARIES = ("tokenizers", "jinja2")
PART, OLD_SECONDS = ".part-", 3600
# The modules whose code decides what becomes of an example.
CODE = tuple(
    f"studio.core.{name}"
    for name in ("comparing", "data_file", "examples", "learning", "learnt", "plain_template", "plans", "template",
                 "token_rules", "tokenizer")
)  # fmt: skip


def tokenised(job: Job, chat: Chat, training: TrainingConfig) -> Prepared:
    """What `prepare` gives, from the shelf where it stands there. Raises what `prepare` raises."""
    if job.shelf is None or not job.shelf.most:
        return prepare(job.data_parquet, chat, training, job.config.method)
    key = key_of(job, chat, training)
    found = take(job.shelf, key)
    if found is None:
        found = prepare(job.data_parquet, chat, training, job.config.method)
        put(job.shelf, key, found)
    return found


def key_of(job: Job, chat: Chat, training: TrainingConfig) -> str:
    """The hash of everything that the tokens, their labels and the split depend on."""
    method, data = job.config.method, job.data_parquet.stat()
    texts = {name: sha256_file(path) for name in TEXTS if (path := job.model_folder / name).is_file()}
    asked = (training.max_length, training.overlong, training.eval_share, training.seed, method.name, method.learn)
    mixed = training.per_device_train_batch_size if method.name == "kto" else 0
    known = [FORMAT, code_hash(), [version(name) for name in LIBRARIES], job.dataset_sha256, data.st_size,
             data.st_mtime_ns, texts, chat.template.source, chat.written, asked, mixed]  # fmt: skip
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]


def code_hash() -> str:
    """Of the sources: whoever changes what is learnt need not think of this shelf."""
    files = [Path(str(sys.modules[name].__file__)) for name in CODE]
    return hashlib.sha256("".join(sha256_file(path) for path in [*files, Path(making.__file__)]).encode()).hexdigest()


def take(shelf: Shelf, key: str) -> Prepared | None:
    """What stands under `key`; None where nothing does, or anything of it is damaged, which is then removed."""
    folder = shelf.folder / key
    if not folder.is_dir():
        return None
    try:
        found = _read(folder)
        os.utime(folder)
    except Exception as error:  # whatever is wrong with it: it is made anew
        log.warning("tokenised examples can not be read (%s); they are made anew", error)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    log.info("the examples were tokenised before")
    return found


def _read(folder: Path) -> Prepared:
    sealed = read_json(folder / FACTS)
    facts: dict[str, Any] = sealed["facts"]
    if sealed["sha256"] != _digest(facts):
        raise ValueError("its facts are not as they were written")
    for name, sha256 in facts["files"].items():
        if sha256_file(folder / name) != sha256:
            raise ValueError(f"{name} is not as it was written")
    held = [from_row(row) for row in facts["held_out"]]
    parts = [Dataset.from_file(str(folder / f"{name}.arrow"), in_memory=True) for name in ("train", "held_out")]
    counts = {name: facts[name] for name in COUNTS}
    return Prepared(Part(parts[0], []), Part(parts[1], held), **counts, stops=frozenset(facts["stops"]))


def put(shelf: Shelf, key: str, made: Prepared) -> None:
    """Keep `made` under `key`, whole or not at all, and make room for it. On a full disk it is not kept, no more."""
    part = shelf.folder / f"{PART}{new_id()}"
    try:
        if shutil.disk_usage(shelf.home.parent).free < SPARE_BYTES + _most(made):
            return
        part.mkdir(parents=True)
        _write(part, made)
        if folder_bytes(part) <= shelf.most:
            part.rename(shelf.folder / key)
            make_room(shelf)
    except Exception as error:  # a shelf is never a reason to fail
        log.warning("tokenised examples are not kept (%s)", error)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _most(made: Prepared) -> int:
    """Bytes that it surely does not exceed on the disk."""
    return int(made.train.data.data.nbytes + made.held_out.data.data.nbytes)


def _write(folder: Path, made: Prepared) -> None:
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    for name, part in (("train", made.train), ("held_out", made.held_out)):
        table: pa.Table = part.data.with_format("arrow")[:]
        with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as out, pa.ipc.new_stream(
            out, table.schema, options=options
        ) as writer:  # fmt: skip
            writer.write_table(table)
    facts: dict[str, Any] = {name: getattr(made, name) for name in COUNTS}
    facts |= {"stops": sorted(made.stops), "held_out": [to_row(example) for example in made.held_out.examples]}
    facts["files"] = {path.name: sha256_file(path) for path in folder.glob("*.arrow")}
    (folder / FACTS).write_text(json.dumps({"facts": facts, "sha256": _digest(facts)}), encoding="utf-8")


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def make_room(shelf: Shelf, now: float | None = None) -> None:
    """Remove what was read least lately until the rest takes at most `shelf.most` bytes; and what a kill left."""
    at, kept = time.time() if now is None else now, 0
    for used, folder in sorted(_folders(shelf.home), reverse=True):
        if folder.name.startswith(PART):
            if used < at - OLD_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        kept += folder_bytes(folder)
        if kept > shelf.most:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(home: Path) -> Iterator[tuple[float, Path]]:
    """When each was last read, and where it is."""
    for folder in home.glob("*/*"):
        with suppress(OSError):
            yield folder.stat().st_mtime, folder
