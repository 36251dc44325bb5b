"""What became of an attempt, judged from evidence alone. Pure."""

import signal
from dataclasses import dataclass
from typing import Any

from studio.core.states import State

MAX_ATTEMPTS = 5
EXIT_DONE, EXIT_STOPPED, EXIT_FAILED, EXIT_CLAIM_LOST = 0, 10, 20, 30
_NATIVE = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}


@dataclass(frozen=True)
class Evidence:
    """What a dead trainer left: `exit_code` is negative for a signal, None where nobody saw the end."""

    state: State
    attempts: int
    exit_code: int | None
    result: dict[str, Any] | None
    failure: dict[str, Any] | None
    shutting_down: bool = False


@dataclass(frozen=True)
class Verdict:
    """The state to write, with a sentence of cause and one of remedy where it is not success."""

    state: State
    title: str
    reason: str | None = None
    problem: str | None = None
    remedy: str | None = None


def judge(seen: Evidence) -> Verdict:
    """The verdict. `interrupted` goes back to the queue by itself; a death in `stopping` ends as stopped."""
    if seen.state == "stopping":
        kept = "The adapter so far is kept." if seen.result else "It had not learnt anything yet."
        return Verdict("stopped", "Stopped", "asked", f"Stopped by you. {kept}", None)
    if seen.result is not None and not seen.result.get("stopped"):
        return Verdict("succeeded", "Finished")
    if seen.failure is not None:
        problem, remedy = str(seen.failure["problem"]), str(seen.failure["remedy"])
        return Verdict("failed", "Failed", str(seen.failure["reason"]), problem, remedy)
    if seen.shutting_down:
        return Verdict("interrupted", "Interrupted", "shutdown", "The worker was shut down.", "It goes on by itself.")
    return _of_exit(seen)


def _of_exit(seen: Evidence) -> Verdict:
    """The verdict on a trainer that left neither result nor failure."""
    if seen.exit_code is not None and seen.exit_code < 0 and -seen.exit_code in _NATIVE:
        name = signal.Signals(-seen.exit_code).name
        problem = f"The training process crashed inside a library ({name})."
        return Verdict("failed", "Crashed", "native_crash", problem, "Start it again; the log has the last lines.")
    if seen.exit_code is not None and seen.exit_code > 0:
        problem = f"The training process ended with code {seen.exit_code} and no word of why."
        return Verdict("failed", "Failed", "protocol_error", problem, "Look at the last lines of the log.")
    if seen.attempts >= MAX_ATTEMPTS:
        problem = f"The training process died {seen.attempts} times without an end."
        return Verdict("failed", "Given up", "crash_loop", problem, "Look at the log, then start it again.")
    return Verdict("interrupted", "Interrupted", "killed", "The training process was ended.", "It goes on by itself.")
