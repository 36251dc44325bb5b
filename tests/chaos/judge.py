"""The invariants, judged from the records and the histories. Every finding is a sentence."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from studio.core.artifacts import is_id, manifest, read_json
from studio.core.db import DRIVER
from studio.core.services import Services
from studio.core.states import ENDED, MOVES, STATES
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.storage import ORPHAN_SECONDS
from tests.chaos.stage import Stage

History = list[dict[str, Any]]
PEN = "attempt."
OURS = {"attempt.process.commit", "attempt.process.committed"}  # written by the supervisor in the trainer's name


@dataclass
class Findings:
    """What is wrong, by kind."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    untruthful: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Take in what another look found."""
        for name in ("lost", "doubled", "untruthful", "violations"):
            getattr(self, name).extend(getattr(other, name))

    @property
    def all(self) -> list[str]:
        """Every sentence."""
        return [*self.lost, *self.doubled, *self.untruthful, *self.violations]


def judge(stage: Stage, accepted: Iterable[str], tried: Iterable[str], history: History) -> Findings:
    """`accepted` names the runs of which the page said that they are queued, `tried` all that were sent."""
    found = Findings()
    names = set(accepted)
    for name in {*tried, *names}:
        runs = stage.named(name)
        if len(runs) > 1:
            found.doubled.append(f"{name} stands {len(runs)} times in the records")
        if name in names and not runs:
            found.lost.append(f"{name} was accepted and is not there")
        for run in runs:
            judge_run(stage.services, run, found)
    judge_history(history, found)
    judge_folders(stage.services, found)
    return found


def judge_run(services: Services, run: Run, found: Findings) -> None:
    """One run that must have ended by now."""
    _judge_chain(services, run, found)
    _judge_state(services, run, found)
    points = services.metrics.series(run.id, ("loss",), 100_000)["loss"]
    if run.state == "succeeded" and [step for step, _ in points] != list(range(1, run.steps + 1)):
        found.violations.append(f"{run.name}: its chart has the steps {[step for step, _ in points]} of {run.steps}")
    if not services.artifacts.spec_path(run.id).is_file():
        found.violations.append(f"{run.name} has no folder")


def _judge_chain(services: Services, run: Run, found: Findings) -> None:
    """The events lead from queued to the state by legal moves."""
    chain = [e.kind for e in reversed(services.runs.events(run.id, LOCAL_USER, 1000)) if e.kind in STATES]
    if not chain or chain[0] != "queued" or chain[-1] != run.state:
        found.violations.append(f"{run.name}: the events {chain} do not lead from queued to {run.state}")
    for old, new in pairwise(chain):
        if new not in MOVES[old]:  # type: ignore[index]
            found.violations.append(f"{run.name}: {old} became {new}")
    if chain.count("succeeded") > 1:
        found.doubled.append(f"{run.name} succeeded {chain.count('succeeded')} times")


def _judge_state(services: Services, run: Run, found: Findings) -> None:
    """What the row says is so."""
    if run.state not in ENDED:
        found.lost.append(f"{run.name} is still {run.state} ({run.problem})")
    files = (run.result or {}).get("files")
    if run.state == "succeeded" and (not files or files != manifest(services.artifacts.adapter_dir(run.id))):
        found.untruthful.append(f"{run.name} succeeded without the files that its result names")
    if run.state == "failed" and run.reason != "crash_loop":
        found.untruthful.append(f"{run.name} failed as {run.reason}, and nothing but kills happened: {run.problem}")


def judge_history(history: History, found: Findings) -> None:
    """Attempts of one run, and on one device, follow one another; no write of an older claim is accepted."""
    lines = sorted(history, key=lambda one: one["at"])
    written = [line for line in lines if line["name"].startswith(PEN) and line["name"] not in OURS]
    spans: dict[tuple[str, int], list[float]] = defaultdict(list)
    newest: dict[str, int] = {}
    for line in written:
        run, claim = line["run"], line["claim"]
        spans[run, claim].append(line["at"])
        newest[run] = max(newest.get(run, 0), claim)
        if line["name"].endswith(".committed") and claim < newest[run]:
            found.violations.append(f"run {run}: claim {claim} wrote {line['name']} after claim {newest[run]} began")
    ordered = sorted((min(times), max(times), run, claim) for (run, claim), times in spans.items())
    for (_, end, run, claim), (begin, _, other, later) in pairwise(ordered):
        if begin < end:
            found.doubled.append(f"run {run} claim {claim} and run {other} claim {later} worked at the same time")
    _judge_steps(lines, found)


def _judge_steps(lines: History, found: Findings) -> None:
    """A step falls only with a new claim, and that one goes on from a checkpoint that was sealed."""
    sealed: set[tuple[str, int]] = set()
    last: dict[str, tuple[int, int]] = {}
    for line in lines:
        run, claim, step = line.get("run"), line.get("claim"), line.get("step")
        match line["name"]:
            case "checkpoint.sealed":
                sealed.add((run, step))
            case "attempt.resumed.committed" if step and (run, step) not in sealed:
                found.violations.append(f"run {run}: claim {claim} went on from {step}, where no checkpoint was sealed")
            case "attempt.progress.committed":
                before = last.get(run, (claim, 0))
                if before[0] == claim and step < before[1]:
                    found.violations.append(f"run {run}: its step fell from {before[1]} to {step}")
                last[run] = (claim, step)


def judge_folders(services: Services, found: Findings) -> None:
    """No folder of a run stands without its row, or after its deletion, for longer than the sweep allows."""
    known = services.tombstones.with_files()
    for folder in services.artifacts.runs_dir().iterdir():
        age = time.time() - folder.stat().st_mtime
        if is_id(folder.name) and folder.name not in known and age > ORPHAN_SECONDS + 20:
            found.violations.append(f"the folder {folder.name} has no run")


def judge_records(services: Services, found: Findings) -> None:
    """The file is whole."""
    connection = DRIVER.connect(str(services.settings.database_path))
    try:
        said = [row[0] for row in connection.execute("PRAGMA quick_check")]
    finally:
        connection.close()
    if said != ["ok"]:
        found.violations.append(f"quick_check says {said}")
    mark = read_json(services.settings.data_dir / "records.mark")
    if mark is not None and not isinstance(mark, dict):
        found.violations.append("records.mark is not whole")
