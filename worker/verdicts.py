"""What became of an attempt, judged from evidence alone. Pure."""

import signal
from dataclasses import dataclass
from typing import Any, Literal

from studio.core.states import State

MAX_ATTEMPTS, MAX_FRUITLESS = 5, 3
EXIT_DONE, EXIT_STOPPED, EXIT_FAILED, EXIT_CLAIM_LOST, EXIT_YIELDED, EXIT_NO_ROOM = 0, 10, 20, 30, 40, 50
PAUSES = (60.0, 120.0, 300.0, 600.0)
ROOM_SECONDS = 5.0
GOES_ON = "It goes on by itself."
_NATIVE = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
_MEMORY = "Let fewer tokens be read at once, or cut examples shorter."
Ended = Literal["stalled", "time_limit"]


@dataclass(frozen=True)
class Evidence:
    """What a dead trainer left: `exit_code` is negative for a signal, None where nobody saw the end.

    `ended` says why the supervisor itself ended it; `oom_kills` counts the kernel's kills for want of memory meanwhile.
    """

    state: State
    attempts: int
    exit_code: int | None
    result: dict[str, Any] | None
    failure: dict[str, Any] | None
    shutting_down: bool = False
    fruitless: int = 0
    progress: bool = False
    checkpoint_step: int = 0
    ended: Ended | None = None
    oom_kills: int = 0


@dataclass(frozen=True)
class Verdict:
    """The state to write, with a sentence of cause and one of remedy where it is not success.

    `interrupted` goes back to the queue by itself, not before `pause` seconds are over; `counts` says whether the
    attempt is one of the few that a run has.
    """

    state: State
    title: str
    reason: str | None = None
    problem: str | None = None
    remedy: str | None = None
    counts: bool = True
    pause: float = 0.0


def judge(seen: Evidence) -> Verdict:
    """The verdict. A death in `stopping` ends as stopped and is never queued again."""
    if seen.state == "stopping":
        return _stopped(seen)
    if seen.result is not None and not seen.result.get("stopped"):
        return Verdict("succeeded", "Finished")
    if seen.ended == "time_limit":
        problem, remedy = "It ran longer than this studio allows for one run.", "Ask for a longer limit, or train less."
        return Verdict("failed", "Out of time", "time_limit", problem, remedy)
    if seen.ended == "stalled":
        return _again(seen, "stalled", "The training process gave no sign of work for too long.")
    if seen.failure is not None:
        return _of_failure(seen, seen.failure)
    if seen.shutting_down or seen.exit_code == EXIT_YIELDED:
        return Verdict("interrupted", "Interrupted", "shutdown", "The worker was shut down.", GOES_ON, counts=False)
    if seen.exit_code == EXIT_NO_ROOM:
        return _no_room("The disk was so full that the training process could not even say why it ended.")
    return _of_exit(seen)


def _no_room(problem: str) -> Verdict:
    words = "It goes on by itself once there is room."
    return Verdict("interrupted", "Disk full", "disk_full", problem, words, counts=False, pause=ROOM_SECONDS)


def _stopped(seen: Evidence) -> Verdict:
    best = (seen.result or {}).get("best_step")
    if best:
        kept = f"The weights of its best check, at step {best:,}, are kept."
    elif seen.result is not None:
        kept = "The adapter so far is kept."
    elif seen.checkpoint_step:
        kept = f"It was ended without an adapter; its checkpoint of step {seen.checkpoint_step:,} is kept."
    else:
        kept = "There was nothing to keep yet."
    return Verdict("stopped", "Stopped", "asked", f"Stopped by you. {kept}", None)


def _of_failure(seen: Evidence, failure: dict[str, Any]) -> Verdict:
    """What the trainer itself says. Some of it passes: then the run waits and goes on."""
    reason, problem, remedy = str(failure["reason"]), str(failure["problem"]), str(failure["remedy"])
    if reason == "disk_full":
        return _no_room(problem)
    if reason == "hub_unreachable" and seen.attempts < MAX_ATTEMPTS:
        pause = PAUSES[min(seen.attempts, len(PAUSES)) - 1]
        words = f"It is tried again in {pause / 60:.0f} min."
        return Verdict("interrupted", "Hub not reached", reason, problem, words, pause=pause)
    return Verdict("failed", "Failed", reason, problem, remedy)


def _of_exit(seen: Evidence) -> Verdict:
    """The verdict on a trainer that left neither result nor failure."""
    if seen.exit_code is not None and seen.exit_code < 0 and -seen.exit_code in _NATIVE:
        name = signal.Signals(-seen.exit_code).name
        problem = f"The training process crashed inside a library ({name})."
        return Verdict("failed", "Crashed", "native_crash", problem, "Start it again; the log has the last lines.")
    if seen.exit_code is not None and seen.exit_code > 0:
        problem = f"The training process ended with code {seen.exit_code} and no word of why."
        return Verdict("failed", "Failed", "protocol_error", problem, "Look at the last lines of the log.")
    if seen.oom_kills > 0:
        problem = "The machine ran out of memory, and the system ended the training process."
        return Verdict("failed", "Out of memory", "host_out_of_memory", problem, _MEMORY)
    return _again(seen, "killed", "The training process was ended from outside.")


def _again(seen: Evidence, reason: str, problem: str) -> Verdict:
    """Back to the queue, unless it died too often, or too often without getting anywhere."""
    fruitless = 0 if seen.progress else seen.fruitless + 1
    if seen.attempts >= MAX_ATTEMPTS or fruitless >= MAX_FRUITLESS:
        without = " without getting any further" if fruitless >= MAX_FRUITLESS else ""
        times = fruitless if without else seen.attempts
        words = f"{problem} That happened {times} times{without}."
        return Verdict("failed", "Given up", "crash_loop", words, "Look at the log, then retry it.")
    return Verdict("interrupted", "Interrupted", reason, problem, GOES_ON)
