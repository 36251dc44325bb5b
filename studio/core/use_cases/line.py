"""When the waiting runs may start. Pure."""

from collections.abc import Iterable

from studio.core.estimate import seconds_left
from studio.core.states import LIVE
from studio.core.stores.runs import Run

WAITING = frozenset({"queued", "interrupted"})


def left(run: Run, now: float) -> float | None:
    """Seconds that a run still takes: from its own pace while it runs, else from its forecast; None where unknown."""
    if run.state in LIVE and run.first_step_at is not None:
        began = max(run.first_step_at, run.started_at or 0.0)
        own = seconds_left(run.step - run.resume_step, run.steps - run.resume_step, now - began)
        if own is not None:
            return own
    if run.expected_seconds is None:
        return None
    done = run.checkpoint_step / run.steps if run.steps else 0.0
    return run.expected_seconds * (1 - done)


def expected_starts(runs: Iterable[Run], paused: bool, now: float) -> dict[str, float | None]:
    """When each waiting run is likely to start, in UTC seconds, for one machine that works on one run at a time.

    None where nobody can know: the queue is paused, the run is held, or what comes before it is of unknown length.
    """
    everyone = list(runs)
    clock: float | None = now
    for run in everyone:
        if run.state in LIVE:
            clock = _plus(clock, left(run, now))
    starts: dict[str, float | None] = {}
    ends: dict[str, float | None] = {run.id: clock for run in everyone if run.state in LIVE}
    for run in sorted((r for r in everyone if r.state in WAITING), key=lambda r: r.position):
        known = not paused and not run.held and clock is not None and ends.get(run.after_run_id or "", now) is not None
        starts[run.id] = max(clock or now, run.not_before or 0.0) if known else None
        if not run.held:
            clock = _plus(starts[run.id], left(run, now))
            ends[run.id] = clock
        else:
            ends[run.id] = None
    return starts


def _plus(moment: float | None, seconds: float | None) -> float | None:
    return None if moment is None or seconds is None else moment + seconds
