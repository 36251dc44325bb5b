"""The process of one run. Light itself: what is heavy is imported inside `main`, so that a failing import is told."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from studio.core import checkpoints
from studio.core.artifacts import Artifacts, new_id
from studio.core.config import parse_config
from studio.core.db import Database
from studio.core.lineage import die_with_parent
from studio.core.machine import measured
from studio.core.models import ModelRef, ready_folder
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, ClaimLost
from studio.core.stores.datasets import DatasetStore
from studio.core.stores.runs import Run, RunStore
from worker.trainer import lifeline
from worker.trainer.failures import bug, explain, leave
from worker.trainer.job import Job, Shelf, StopAsked, Yielded
from worker.trainer.waiting import wait_for_run
from worker.verdicts import EXIT_CLAIM_LOST, EXIT_DONE, EXIT_FAILED, EXIT_NO_ROOM, EXIT_STOPPED, EXIT_YIELDED

log = logging.getLogger("tunesmith.trainer")
asked_to_yield = threading.Event()
CUDA_MEMORY = "expandable_segments:True"  # micro-batches of many widths would else leave holes between their blocks


def main(run_id: str) -> int:
    """Work on the run as the claim in the environment allows; gives the exit code."""
    die_with_parent()
    lifeline.start()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_yield.set())
    _log_to_stdout()
    _before_torch()
    settings = Settings()
    artifacts = Artifacts(settings.data_dir)
    claim = int(os.environ["TUNESMITH_CLAIM"])
    try:
        db = Database(settings.database_path, lambda: not asked_to_yield.is_set())
        run = RunStore(db).get(run_id, None)
        claimed = Claimed(db, run_id, claim)
        result = _work(run, claimed, settings, DatasetStore(db).version(run.dataset_version_id, None).sha256, claim)
    except ClaimLost:
        log.warning("the run is no longer ours")
        return EXIT_CLAIM_LOST
    except StopAsked:
        return EXIT_STOPPED
    except Yielded:
        log.info("asked to give the machine back; a checkpoint holds what was learnt")
        return EXIT_YIELDED
    except Exception as error:  # a door: whatever it is, it is told
        return _fail(artifacts.failure_path(run_id), claim, error)
    return EXIT_STOPPED if result.get("stopped") else EXIT_DONE


def spare() -> int:
    """Import what a run needs, and wait for one; gives the exit code."""
    _before_torch()
    return wait_for_run(_import_all, main)


def _import_all() -> None:
    """What `_work` imports, ahead of the run."""
    import worker.trainer.phases  # noqa: F401 - heavy: that it is done now is the point


def _work(run: Run, claimed: Claimed, settings: Settings, dataset_sha256: str, claim: int) -> dict[str, Any]:
    """Fetch the model where it is not here, then all phases."""
    artifacts = Artifacts(settings.data_dir)
    model = _model(run, claimed, settings)
    assert model.folder is not None
    from worker.trainer.phases import train  # heavy: seconds of torch, after the first sign of life

    config = parse_config(run.config)
    job = Job(
        run_id=run.id,
        claim=claim,
        config=config,
        model_folder=model.folder,
        model_repo=model.repo,
        model_revision=model.revision,
        model_source=model.source,
        data_parquet=artifacts.data_parquet(run.dataset_version_id),
        run_dir=artifacts.run_dir(run.id),
        dataset_sha256=dataset_sha256,
        threads=settings.threads,
        spec_hash=checkpoints.spec_hash(run.config, run.base_repo, run.base_revision, dataset_sha256),
        checkpoint_seconds=config.training.checkpoint_seconds or settings.checkpoint_seconds,
        continue_folder=artifacts.adapter_dir(config.adapter.continue_from) if config.adapter.continue_from else None,
        machine=measured(settings.data_dir),
        shelf=Shelf(artifacts.tokenised_dir(), run.dataset_version_id, settings.tokenised_bytes),
    )
    return train(job, claimed, asked_to_yield.is_set)


def _model(run: Run, claimed: Claimed, settings: Settings) -> ModelRef:
    """The base model's folder; fetching it is told once, and a stop is heard meanwhile."""
    told: list[str] = []

    def tell(share: float, words: str) -> None:
        lifeline.pulse()
        if asked_to_yield.is_set():
            raise Yielded
        if claimed.stop_wanted():
            raise StopAsked
        if not told:
            claimed.event("note", "Fetching the base model", words)
            told.append(words)
        log.info("%s (%d %%)", words, round(100 * share))

    return ready_folder(run.base_repo, run.base_revision, settings, tell)


def _fail(path: Path, claim: int, error: Exception) -> int:
    """Leave the verdict for the supervisor and the traceback in the log; gives the exit code."""
    failure = explain(error) or bug(new_id())
    log.error("%s: %s", failure.reason, failure.problem, exc_info=error)
    return EXIT_FAILED if leave(path, failure, claim) else EXIT_NO_ROOM


def _before_torch() -> None:
    """What torch and its thread library read once, when they are loaded.

    One run, one accelerator: where torch sees several, TRL refuses to start. And threads that wait for one another
    give their core away soon instead of spinning on it: with other work on the machine a step took 13 s instead of 37.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("PYTORCH_ALLOC_CONF", CUDA_MEMORY)


def _log_to_stdout() -> None:
    """Lines such as "14:18:28 step 306 loss 0.401 lr 7.9e-05": the supervisor keeps them as the run's log."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    for name in ("httpx", "httpcore", "alembic", "urllib3", "filelock", "datasets"):
        logging.getLogger(name).setLevel(logging.WARNING)
