"""When the waiting runs may start. Pure."""

from collections.abc import Iterable

from studio.core.estimate import seconds_left
from studio.core.states import LIVE
from studio.core.stores.runs import Run

WAITING = frozenset({"queued", "interrupted"})


def own_pace(run: Run, now: float) -> float | None:
    """Seconds to the last step at the pace of this attempt; None before its second step."""
    if run.first_step_at is None:
        return None
    began = max(run.first_step_at, run.started_at or 0.0)
    return seconds_left(run.step - run.resume_step, run.steps - run.resume_step, now - began)


def left(run: Run, now: float) -> float | None:
    """Seconds that a run still takes: from its own pace while it runs, else from its forecast; None where unknown."""
    own = own_pace(run, now) if run.state in LIVE else None
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
    waiting = [run for run in everyone if run.state in WAITING]
    starts: dict[str, float | None] = {run.id: None for run in waiting}
    clock = None if paused else now
    for run in everyone:
        if run.state in LIVE:
            clock = _plus(clock, left(run, now))
    line = [run for run in waiting if not run.held]
    unended = {run.id for run in waiting}
    while clock is not None and (ready := [run for run in line if run.after_run_id not in unended]):
        start, run = min(((max(clock, run.not_before or 0.0), run) for run in ready), key=_turn)
        starts[run.id] = start
        line.remove(run)
        unended.discard(run.id)
        clock = _plus(start, left(run, now))
    return starts


def _turn(start: tuple[float, Run]) -> tuple[float, int]:
    """Who goes first: who can start first, then the earlier place."""
    return start[0], start[1].position


def _plus(moment: float | None, seconds: float | None) -> float | None:
    return None if moment is None or seconds is None else moment + seconds
