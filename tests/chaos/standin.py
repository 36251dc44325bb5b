"""A trainer that learns nothing and keeps the whole protocol: claim, lifeline, stop, checkpoints, proof, result.

For many rounds: it starts in a second instead of seven. The driver's `--trainer real` runs the real one.
"""

import os
import signal
import sys
import time
from typing import Any

from studio.core import checkpoints
from studio.core.artifacts import Artifacts, manifest, publish_dir, write_json
from studio.core.db import Database
from studio.core.failpoints import failpoint
from studio.core.lineage import die_with_parent
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, ClaimLost, StopWanted
from studio.core.stores.datasets import DatasetStore
from studio.core.stores.runs import Run, RunStore
from studio.core.stores.series import Sample
from worker.trainer import lifeline
from worker.trainer.failures import bug, explain, leave
from worker.trainer.waiting import wait_for_run
from worker.verdicts import EXIT_CLAIM_LOST, EXIT_DONE, EXIT_FAILED, EXIT_NO_ROOM, EXIT_STOPPED, EXIT_YIELDED

STEPS, EVERY, SECONDS = 12, 3, 0.03


class Yielded(Exception):
    """SIGTERM: give the device back."""


def main(run_id: str) -> int:
    """Work on the run as the claim in the environment allows."""
    die_with_parent()
    lifeline.start()
    settings = Settings()
    artifacts, db = Artifacts(settings.data_dir), Database(settings.database_path, lambda: True)
    run = RunStore(db).get(run_id, None)
    claim = int(os.environ["TUNESMITH_CLAIM"])
    try:
        digest = DatasetStore(db).version(run.dataset_version_id, None).sha256
        spec = checkpoints.spec_hash(run.config, run.base_repo, run.base_revision, digest)
        return Fake(run, claim, Claimed(db, run_id, claim), artifacts, spec).work()
    except ClaimLost:
        return EXIT_CLAIM_LOST
    except Yielded:
        return EXIT_YIELDED
    except Exception as error:  # a door, as in the real one
        failure = explain(error) or bug("standin")
        return EXIT_FAILED if leave(artifacts.failure_path(run_id), failure, claim) else EXIT_NO_ROOM


class Fake:
    """One attempt."""

    def __init__(self, run: Run, claim: int, pen: Claimed, artifacts: Artifacts, spec: str) -> None:
        self.run, self.claim, self.pen, self.artifacts, self.spec = run, claim, pen, artifacts, spec
        self.folder = artifacts.checkpoints_dir(run.id)
        self.yielding = False
        signal.signal(signal.SIGTERM, self._asked)

    def _asked(self, *_: object) -> None:
        self.yielding = True

    def work(self) -> int:
        """All steps, from the newest checkpoint; gives the exit code."""
        found = checkpoints.newest(self.folder, self.spec)
        step = found.step if found else 0
        self.pen.resumed(step)
        self.pen.spec({"dtype": "none"})
        self.pen.event("note", "Standing in")
        stopped = False
        try:
            self.pen.move("running", "Training")
            while step < STEPS and not stopped:
                step, stopped = self.step(step + 1), self.pen.stop_wanted()
            if not stopped:
                self.pen.move("finalizing", "Writing the adapter")
        except StopWanted:
            stopped = True
        if not step:
            return EXIT_STOPPED
        self.publish(step, stopped)
        return EXIT_STOPPED if stopped else EXIT_DONE

    def step(self, step: int) -> int:
        """One step, with its checkpoint where it is due."""
        time.sleep(SECONDS)
        lifeline.pulse()
        self.pen.metrics([(step, "loss", 1.0 / step)])
        self.pen.progress(step, STEPS)
        self.pen.alarm("few_steps", "Few steps")
        self.pen.samples(step, [Sample("Asked", "Wanted", f"Said at step {step}")])
        if self.yielding or step % EVERY == 0:
            self.save(step)
        if self.yielding:
            raise Yielded
        return step

    def save(self, step: int) -> None:
        """A checkpoint of two small files."""
        place = self.folder / f"checkpoint-{step}"
        place.mkdir(parents=True, exist_ok=True)
        failpoint("checkpoint.begun", run=self.run.id, claim=self.claim, step=step)
        for name in ("adapter_model.safetensors", "optimizer.pt"):
            (place / name).write_bytes(f"{name} {step}".encode() * 1000)
        checkpoints.seal(place, step, self.claim, self.spec)
        self.pen.checkpoint(step)
        failpoint("checkpoint.recorded", run=self.run.id, claim=self.claim, step=step)
        checkpoints.rotate(self.folder, self.spec)

    def publish(self, step: int, stopped: bool) -> None:
        """The adapter's folder, then the result."""
        final = self.artifacts.adapter_dir(self.run.id)
        part = final.with_name(f"adapter.part-{self.claim}")
        part.mkdir(parents=True, exist_ok=True)
        (part / "adapter_model.safetensors").write_bytes(f"{step}".encode() * 1000)
        publish_dir(part, final)
        result: dict[str, Any] = {"claim": self.claim, "steps": step, "files": manifest(final)}
        write_json(self.artifacts.result_path(self.run.id), result | ({"stopped": True} if stopped else {}))


if __name__ == "__main__":
    sys.exit(wait_for_run(lambda: None, main) if sys.argv[1] == "spare" else main(sys.argv[1]))
