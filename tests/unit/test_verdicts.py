"""What became of an attempt is judged from evidence alone."""

import signal
from typing import Any

import pytest

from studio.core.states import ENDED, LIVE, MOVES, STATES, may_move
from worker.verdicts import MAX_ATTEMPTS, Evidence, judge

RESULT = {"claim": 1}
FAILURE = {"reason": "diverged", "problem": "The loss is not a number.", "remedy": "Lower the learning rate."}


def seen(**changes: Any) -> Evidence:
    """The evidence of a trainer that vanished, with changes."""
    base: dict[str, Any] = {"state": "running", "attempts": 1, "exit_code": None, "result": None, "failure": None}
    return Evidence(**{**base, **changes})


def test_a_proved_result_is_success() -> None:
    assert judge(seen(state="finalizing", exit_code=0, result=RESULT)).state == "succeeded"


def test_a_result_found_after_the_worker_died_is_success() -> None:
    assert judge(seen(state="finalizing", result=RESULT)).state == "succeeded"


def test_a_known_failure_keeps_its_words() -> None:
    verdict = judge(seen(exit_code=20, failure=FAILURE))
    assert (verdict.state, verdict.reason, verdict.problem) == ("failed", "diverged", FAILURE["problem"])


@pytest.mark.parametrize("exit_code", [0, 10, 20, 1, -9, None])
def test_a_death_in_stopping_ends_as_stopped(exit_code: int | None) -> None:
    assert judge(seen(state="stopping", exit_code=exit_code)).state == "stopped"


def test_a_clean_exit_without_proof_is_not_success() -> None:
    assert judge(seen(exit_code=0)).state != "succeeded"


@pytest.mark.parametrize("exit_code", [None, -signal.SIGKILL, -signal.SIGTERM])
def test_a_killed_trainer_goes_back_to_the_queue_until_it_died_too_often(exit_code: int | None) -> None:
    assert judge(seen(exit_code=exit_code)).state == "interrupted"
    verdict = judge(seen(exit_code=exit_code, attempts=MAX_ATTEMPTS))
    assert (verdict.state, verdict.reason) == ("failed", "crash_loop")


def test_a_crash_inside_a_library_is_named() -> None:
    verdict = judge(seen(exit_code=-signal.SIGSEGV))
    assert (verdict.state, verdict.reason) == ("failed", "native_crash") and "SIGSEGV" in (verdict.problem or "")


def test_an_unknown_exit_code_is_a_failure_that_names_it() -> None:
    verdict = judge(seen(exit_code=3))
    assert (verdict.state, verdict.reason) == ("failed", "protocol_error") and "code 3" in (verdict.problem or "")


def test_a_worker_that_leaves_gives_the_run_back() -> None:
    assert judge(seen(exit_code=-15, shutting_down=True)).reason == "shutdown"


def test_what_has_ended_never_moves_again_and_every_live_state_can_end() -> None:
    assert all(not MOVES[state] for state in ENDED)
    assert all(may_move(state, "failed") for state in LIVE)
    assert {new for news in MOVES.values() for new in news} == set(STATES)
    assert MOVES["stopping"] == {"stopped", "failed"}
