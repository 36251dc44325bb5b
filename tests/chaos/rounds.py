"""What happens in a round: runs are submitted, something is killed, all is started again, all is judged."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core.locks import is_held
from studio.core.states import ENDED, LIVE
from tests.chaos.deeds import deed_of, delete
from tests.chaos.judge import Findings, judge, judge_records
from tests.chaos.stage import Stage
from tests.integration.tiny import make_tiny_model

VICTIMS = (("trainer",), ("worker",), ("worker", "trainer"), ("web",), ("web", "worker", "trainer"), ("spare",),
           ("spare", "trainer"))  # fmt: skip
MEDDLING = ("stop", "hold", "release", "earlier", "later")
TRUTH_SECONDS = 10.0
END_SECONDS = {"standin": 60.0, "real": 240.0}
# Places behind the durable write, or where nothing is written: no disk is full there.
AFTER = ("committed", "sealed", "recorded", "renamed", "rotated", "rotating", "spawned", "locked", "ended")
TRAINING = {"Epochs": 4, "Longest example": 64, "Held out": 0, "Checkpoint every": 0.2, "Number format": "float32"}


class Truth(threading.Thread):
    """Looks again and again whether a live state has a held lock while the worker is up."""

    def __init__(self, stage: Stage, found: Findings) -> None:
        super().__init__(daemon=True)
        self._stage, self._found, self._ends = stage, found, threading.Event()
        self._since: dict[tuple[str, int], float] = {}

    def run(self) -> None:
        """Until `end`."""
        while not self._ends.wait(0.25):
            now, stage = time.monotonic(), self._stage
            up = stage.worker is not None and stage.worker.poll() is None
            free = {
                (run.id, run.claim)
                for run in stage.services.runs.live()
                if up and not is_held(stage.services.artifacts.run_lock(run.id))
            }
            self._since = {key: self._since.get(key, now) for key in free}
            for (run_id, claim), since in self._since.items():
                if now - max(since, stage.worker_since) > TRUTH_SECONDS:
                    self._found.untruthful.append(f"run {run_id} claim {claim} was live without a lock for 10 s")
                    self._since[run_id, claim] = now

    def end(self) -> None:
        """Stop looking."""
        self._ends.set()
        self.join()


class Chaos:
    """All rounds on one data dir."""

    def __init__(self, folder: Path, trainer: str, rng: random.Random, say: Callable[[str], None]) -> None:
        """Makes the tiny model and starts the studio."""
        self.rng, self.say, self.findings = rng, say, Findings()
        self.stage = Stage(folder, trainer, make_tiny_model(folder / "model"), dict(TRAINING))
        self.rounds = self.runs = 0
        self.slowest, self._offset = 0.0, 0
        self._truth = Truth(self.stage, self.findings)
        self.stage.start()
        self._truth.start()

    def close(self) -> None:
        """Judge the records once more and end everything."""
        self._truth.end()
        judge_records(self.stage.services, self.findings)
        self.stage.close()

    def report(self) -> dict[str, Any]:
        """The figures."""
        found = self.findings
        return {
            "rounds": self.rounds,
            "kills": self.stage.kills,
            "runs": self.runs,
            "lost": len(found.lost),
            "doubled": len(found.doubled),
            "untruthful": len(found.untruthful),
            "invariant_violations": len(found.violations),
            "slowest_round": round(self.slowest, 1),
        }

    def round(self, number: int) -> None:
        """Submit, kill at random, start again, wait for the end, judge."""
        began, stage, rng = time.monotonic(), self.stage, self.rng
        names = [f"r{number}-{i}" for i in range(2 if stage.trainer == "standin" else 1)]
        accepted = {name for name in names if stage.submit(name, name)}
        if rng.random() < 0.3:
            stage.submit(names[0], names[0])  # Start was pressed twice
        for _ in range(1 if stage.trainer == "real" else rng.choice((1, 1, 2))):
            self._wait_for_work(names)
            time.sleep(rng.random() * (1.0 if stage.trainer == "standin" else 4.0))
            if rng.random() < 0.2:
                self._meddle(names)
            stage.kill(*rng.choice(VICTIMS))
            stage.start()
        self._finish(names, accepted, f"round {number}", began)

    def _wait_for_work(self, names: list[str]) -> None:
        """Until one of the runs is at work, or all have ended: a kill shall hit something."""

        def at_work() -> bool:
            runs = [run for name in names for run in self.stage.named(name)]
            return any(run.state in LIVE for run in runs) or all(run.state in ENDED for run in runs)

        self.stage.wait(at_work, every=0.05)

    def _meddle(self, names: list[str]) -> None:
        """A person presses something meanwhile."""
        runs = [run for name in names for run in self.stage.named(name)]
        if runs:
            self.stage.client(
                self.rng.choice(("stop", "hold", "release", "earlier", "later")), self.rng.choice(runs).id
            )

    def _finish(self, names: list[str], accepted: set[str], title: str, began: float) -> None:
        """Start again what died, press Start again where no answer came, wait, judge."""
        stage = self.stage
        stage.start()
        for name in names:
            if name not in accepted and stage.submit(name, name):
                accepted.add(name)
        for run in (run for name in names for run in stage.named(name)):
            if run.held and run.state not in ENDED:
                stage.client("release", run.id)

        def ended() -> bool:
            return all(run.state in ENDED for name in names for run in stage.named(name))

        try:
            stage.wait(ended, END_SECONDS[stage.trainer])
        except AssertionError:
            self.say(f"{title}: not at its end in time")
        history, self._offset = stage.history(self._offset)
        found = judge(stage, accepted, names, history)
        self.findings.add(found)
        self.rounds, self.runs = self.rounds + 1, self.runs + len(accepted)
        took = time.monotonic() - began
        self.slowest = max(self.slowest, took)
        states = [run.state for name in names for run in stage.named(name)]
        self.say(
            f"{title}: {took:.1f} s, {states}, {stage.kills} kills so far" + "".join(f"\n  {w}" for w in found.all)
        )

    def every_point(self, points: list[str]) -> list[str]:
        """One round for each failpoint, in which a process dies there; gives the points that nothing passed."""
        return [point for point in points if not self._at(point)]

    def every_full(self, points: list[str]) -> list[str]:
        """One round for each place where a run is about to write, at which the disk is full once."""
        early = [point for point in points if deed_of(point) is None and not point.endswith(AFTER)]
        return [point for point in early if not self._at(point, "full")]

    def _at(self, point: str, action: str = "kill") -> bool:
        """Let the next process that passes `point` die, or find the disk full. Whether one did."""
        began, stage, name = time.monotonic(), self.stage, f"at-{point}"
        deed = deed_of(point)
        if deed is None:
            stage.arm(point, action)
        accepted = {name} if stage.submit(name, name) else set()
        if deed is not None:
            deed(stage, point, stage.named(name)[0])
        gone = deed is delete
        self._finish([] if gone else [name], set() if gone else accepted, point, began)
        fired = stage.disarm()
        if not fired:
            self.say(f"nothing passed {point}; the log's end:\n{stage.last_words()}")
        return fired
