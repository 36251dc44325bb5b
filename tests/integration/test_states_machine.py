"""Hypothesis drives the real stores against an in-memory model of the states (design.md, section 5)."""

import itertools
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from sqlalchemy import select

from studio.core.errors import Conflict, NotFound
from studio.core.services import open_services
from studio.core.settings import Settings
from studio.core.stores.claims import Claimed, ClaimLost, claim_run
from studio.core.stores.runs import Event, NewRun
from studio.core.stores.users import LOCAL_USER
from studio.core.tables import runs
from studio.core.use_cases.steer import stop_run
from tests.integration.records import add_dataset

WORKER = {"host": "here", "worker_id": "w"}
PAUSE_SECONDS = 1000
ENDED, LIVE = {"succeeded", "stopped", "failed"}, {"starting", "running", "finalizing", "stopping"}
LEGAL = {  # the design's own words again, so that a slip in the studio's table is seen
    "queued": {"starting", "stopped", "failed"},
    "starting": {"running", "stopping", "failed", "interrupted"},
    "running": {"finalizing", "stopping", "failed", "interrupted"},
    "finalizing": {"succeeded", "stopping", "failed", "interrupted"},
    "stopping": {"stopped", "failed"},
    "interrupted": {"queued", "stopped", "failed"},
    **{state: set() for state in ENDED},
}
STATES = sorted(LEGAL)
FORWARD = {"starting": "running", "running": "finalizing", "finalizing": "succeeded"}


@dataclass
class Model:
    """What a run should be."""

    state: str = "queued"
    claim: int = 0
    held: bool = False
    deleted: bool = False
    after: str | None = None
    pauses: bool = False
    points: dict[int, float] = field(default_factory=dict)


class Runs(RuleBasedStateMachine):
    """Everything that people, supervisor and trainers do to rows, in any order."""

    ids = Bundle("ids")
    lags = st.sampled_from([0, 0, 1])  # how many attempts ago the writer began

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.services = open_services(Settings(data_dir=Path(self._folder.name) / "data"))
        self.version = add_dataset(self.services).id
        self.model: dict[str, Model] = {}
        self.line: list[str] = []
        self.keys: dict[str, str] = {}
        self.paused = False

    def teardown(self) -> None:
        self.services.db.close()
        self.services.bell.huey.storage.close()
        self._folder.cleanup()

    def waiting(self) -> list[str]:
        """The line in its order."""
        return [run_id for run_id in self.line if self.model[run_id].state in ("queued", "interrupted")]

    @initialize(target=ids)
    def one_waits_and_one_is_in_its_second_attempt(self) -> MultipleResults[str]:
        first, second = self.submit("a"), self.submit("b")
        self.claim(first)
        self.attempt_dies_and_the_run_waits_again(first, False)
        self.claim(first)
        return multiple(first, second)

    @rule(target=ids, key=st.sampled_from(["a", "b", "c", "d", "e", "f"]))
    def submit(self, key: str) -> str:
        new = NewRun(LOCAL_USER, key, {}, "repo", "main", self.version, key)
        run = self.services.runs.add(new)
        assert run.id == self.keys.get(key, new.id)
        if key not in self.keys:
            self.keys[key] = run.id
            self.model[run.id] = Model()
            self.line.append(run.id)
        return run.id

    @rule(target=ids, after=ids)
    def submit_after(self, after: str) -> str:
        run = self.services.runs.add(NewRun(LOCAL_USER, "x", {}, "repo", "main", self.version, after_run_id=after))
        self.model[run.id] = Model(after=after)
        self.line.append(run.id)
        return run.id

    @rule(run_id=ids)
    def claim(self, run_id: str) -> None:
        seen = self.model[run_id]
        allowed = seen.state == "queued" and not seen.held and not seen.deleted
        assert claim_run(self.services.db, run_id, WORKER) == (seen.claim + 1 if allowed else None)
        if allowed:
            seen.state, seen.claim, seen.pauses = "starting", seen.claim + 1, False

    @rule(run_id=ids, lag=lags)
    def trainer_goes_on(self, run_id: str, lag: int) -> None:
        seen, to = self.model[run_id], FORWARD.get(self.model[run_id].state, "running")
        claim = seen.claim - lag
        pen = Claimed(self.services.db, run_id, claim)
        allowed = claim == seen.claim and seen.state in FORWARD
        try:
            pen.move(to, to)  # type: ignore[arg-type]
            assert allowed
            seen.state = to
        except ClaimLost:
            assert not allowed

    @rule(run_id=ids, lag=lags, step=st.integers(1, 5), value=st.floats(0, 1))
    def trainer_measures(self, run_id: str, lag: int, step: int, value: float) -> None:
        seen = self.model[run_id]
        claim = seen.claim - lag
        try:
            Claimed(self.services.db, run_id, claim).metrics([(step, "loss", value)])
            assert claim == seen.claim
            seen.points[step] = value
        except ClaimLost:
            assert claim != seen.claim

    @rule(run_id=ids, pauses=st.booleans())
    def attempt_dies_and_the_run_waits_again(self, run_id: str, pauses: bool) -> None:
        seen = self.model[run_id]
        if seen.state not in FORWARD:
            return
        until = time.time() + PAUSE_SECONDS if pauses else None
        for to in ("interrupted", "queued"):
            event = Event(time.time(), to, to, "")
            run = self.services.runs.get(run_id, None)
            assert self.services.runs.move(run, to, event, claim=seen.claim, not_before=until)  # type: ignore[arg-type]
        seen.state, seen.pauses = "queued", pauses

    @precondition(lambda self: any(run.claim > 1 for run in self.model.values()))
    @rule(data=st.data())
    def older_attempt_writes_nothing(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from([i for i, run in self.model.items() if run.claim > 1]))
        pen = Claimed(self.services.db, run_id, data.draw(st.integers(1, self.model[run_id].claim - 1)))
        for write in (
            lambda: pen.move("running", "x"),
            lambda: pen.event("note", "x"),
            lambda: pen.metrics([(1, "loss", 9.0)]),
            lambda: pen.progress(9, 9),
            lambda: pen.resumed(0),
            lambda: pen.checkpoint(9),
            lambda: pen.spec({"old": True}),
            lambda: pen.process(1, 1.0),
        ):
            before = self.row(run_id)
            with pytest.raises(ClaimLost):
                write()
            assert self.row(run_id) == before

    def row(self, run_id: str) -> tuple[object, ...]:
        """The row as it stands, deleted or not."""
        with self.services.db.read() as connection:
            return tuple(connection.execute(select(runs).where(runs.c.id == run_id)).one())

    @rule(run_id=ids, step=st.integers(0, 5))
    def trainer_resumes(self, run_id: str, step: int) -> None:
        seen = self.model[run_id]
        Claimed(self.services.db, run_id, seen.claim).resumed(step)
        seen.points = {at: value for at, value in seen.points.items() if at <= step}

    @rule(run_id=ids, to=st.sampled_from(STATES), lag=lags)
    def supervisor_judges(self, run_id: str, to: str, lag: int) -> None:
        seen = self.model[run_id]
        if seen.deleted:
            return
        run = self.services.runs.get(run_id, None)
        event = Event(time.time(), to, to, "")
        moved = self.services.runs.move(run, to, event, claim=seen.claim - lag)  # type: ignore[arg-type]
        assert moved == (lag == 0 and to in LEGAL[seen.state])
        if moved:
            seen.state = to

    @rule(run_id=ids)
    def person_stops(self, run_id: str) -> None:
        seen = self.model[run_id]
        try:
            stop_run(self.services, LOCAL_USER, run_id)
            assert seen.state not in ENDED and not seen.deleted
            seen.state = "stopping" if seen.state in LIVE else "stopped"
        except Conflict:
            assert seen.state in ENDED
        except NotFound:
            assert seen.deleted

    @rule(run_id=ids, held=st.booleans())
    def person_holds(self, run_id: str, held: bool) -> None:
        seen = self.model[run_id]
        allowed = run_id in self.waiting() and not seen.deleted and seen.held != held
        assert self.services.line.hold(run_id, LOCAL_USER, held) == allowed
        if allowed:
            seen.held = held

    @rule(run_id=ids, by=st.sampled_from([-1, 1]))
    def person_moves(self, run_id: str, by: int) -> None:
        line = self.waiting()
        place = line.index(run_id) if run_id in line else None
        allowed = place is not None and 0 <= place + by < len(line)
        assert self.services.line.move(run_id, LOCAL_USER, by) == allowed
        if allowed and place is not None:
            i, j = self.line.index(run_id), self.line.index(line[place + by])
            self.line[i], self.line[j] = self.line[j], self.line[i]

    @rule(paused=st.booleans())
    def person_pauses(self, paused: bool) -> None:
        self.services.line.pause(paused)
        self.paused = paused

    @rule(run_id=ids)
    def person_deletes(self, run_id: str) -> None:
        seen = self.model[run_id]
        allowed = seen.state in ENDED and not seen.deleted
        assert self.services.tombstones.bury(run_id, LOCAL_USER) == allowed
        seen.deleted |= allowed

    @invariant()
    def rows_are_what_the_model_says(self) -> None:
        for run_id, seen in self.model.items():
            if seen.deleted:
                continue
            run = self.services.runs.get(run_id, LOCAL_USER)
            assert (run.state, run.claim, run.held) == (seen.state, seen.claim, seen.held)
            assert dict(self.services.metrics.series(run_id, ("loss",))["loss"]) == seen.points

    @invariant()
    def events_lead_to_the_state_by_legal_moves(self) -> None:
        for run_id, seen in self.model.items():
            chain = [e.kind for e in reversed(self.services.runs.events(run_id, LOCAL_USER, 500)) if e.kind in STATES]
            assert chain[0] == "queued" and chain[-1] == seen.state
            assert all(new in LEGAL[old] for old, new in itertools.pairwise(chain))
            assert chain.count("succeeded") <= 1

    @invariant()
    def the_next_run_is_the_models(self) -> None:
        ready = [run_id for run_id in self.line if self.may_start(self.model[run_id])]
        assert self.services.line.next() == (ready[0] if ready and not self.paused else None)
        later = [i for i in self.line if self.may_start(replace(self.model[i], pauses=False))]
        assert self.services.line.next(time.time() + 2 * PAUSE_SECONDS) == (
            later[0] if later and not self.paused else None
        )

    def may_start(self, seen: Model) -> bool:
        """Whether nothing but its place keeps a run from starting."""
        before = self.model.get(seen.after or "")
        waits = before is not None and before.state not in ENDED and not before.deleted
        return seen.state == "queued" and not (seen.held or seen.pauses or waits)


Runs.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # No shrinking: on a real database it takes longer than a test may. Take the phases out to have it.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
test_any_order_of_deeds_keeps_rows_events_and_line_as_the_model_has_them = Runs.TestCase
