"""What became of an attempt is judged from evidence alone."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.states import ENDED, LIVE, MOVES, STATES, may_move
from worker.verdicts import EXIT_NO_ROOM, EXIT_YIELDED, MAX_ATTEMPTS, Evidence, judge
from worker.watch import patience

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


def test_the_systems_kill_for_want_of_memory_is_told_from_any_other() -> None:
    verdict = judge(seen(exit_code=-signal.SIGKILL, oom_kills=1))
    assert (verdict.state, verdict.reason) == ("failed", "host_out_of_memory") and "memory" in (verdict.problem or "")
    assert judge(seen(exit_code=-signal.SIGKILL, oom_kills=0)).reason == "killed"


def test_a_full_disk_waits_for_room_and_costs_no_attempt() -> None:
    full = {"reason": "disk_full", "problem": "The disk is full.", "remedy": "Make room."}
    verdict = judge(seen(exit_code=20, failure=full, attempts=MAX_ATTEMPTS))
    assert (verdict.state, verdict.reason, verdict.counts) == ("interrupted", "disk_full", False)
    assert verdict.pause > 0


def test_a_disk_too_full_for_a_last_word_waits_for_room_as_well() -> None:
    verdict = judge(seen(exit_code=EXIT_NO_ROOM, attempts=MAX_ATTEMPTS))
    assert (verdict.state, verdict.reason, verdict.counts) == ("interrupted", "disk_full", False)


def test_an_unreachable_hub_is_tried_again_with_growing_pauses_then_fails() -> None:
    hub = {"reason": "hub_unreachable", "problem": "The Hub does not answer.", "remedy": "Try again."}
    verdicts = [judge(seen(exit_code=20, failure=hub, attempts=n)) for n in range(1, MAX_ATTEMPTS + 1)]
    pauses = [verdict.pause for verdict in verdicts[:-1]]
    assert pauses == sorted(pauses) and len(set(pauses)) == len(pauses) and pauses[0] >= 60
    assert verdicts[-1].state == "failed" and verdicts[-1].reason == "hub_unreachable"


@pytest.mark.parametrize("how", [{"exit_code": EXIT_YIELDED}, {"exit_code": -15, "shutting_down": True}])
def test_a_trainer_that_gives_the_machine_back_costs_no_attempt(how: dict[str, Any]) -> None:
    verdict = judge(seen(attempts=MAX_ATTEMPTS, **how))
    assert (verdict.state, verdict.reason, verdict.counts) == ("interrupted", "shutdown", False)


def test_three_deaths_in_a_row_without_progress_are_the_end() -> None:
    assert judge(seen(exit_code=-9, attempts=3, fruitless=2)).reason == "crash_loop"
    assert judge(seen(exit_code=-9, attempts=3, fruitless=2, progress=True)).state == "interrupted"
    assert judge(seen(exit_code=-9, attempts=2, fruitless=1)).state == "interrupted"


def test_a_stall_goes_on_and_a_time_limit_does_not() -> None:
    assert judge(seen(exit_code=-9, ended="stalled")).state == "interrupted"
    assert judge(seen(exit_code=-9, ended="stalled", attempts=MAX_ATTEMPTS)).reason == "crash_loop"
    assert judge(seen(exit_code=40, ended="time_limit")).reason == "time_limit"


def test_a_stop_that_had_to_be_forced_names_the_checkpoint() -> None:
    verdict = judge(seen(state="stopping", exit_code=-9, checkpoint_step=1200))
    assert verdict.state == "stopped" and "checkpoint of step 1,200 is kept" in (verdict.problem or "")


@pytest.mark.parametrize("exit_code", [None, 0, 3, 20, 40, -6, -9, -11, -15])
@pytest.mark.parametrize("attempts", [1, MAX_ATTEMPTS])
def test_every_verdict_that_is_no_success_has_a_cause_and_a_remedy(exit_code: int | None, attempts: int) -> None:
    verdict = judge(seen(exit_code=exit_code, attempts=attempts))
    assert verdict.problem and verdict.remedy and verdict.reason
    assert verdict.state in MOVES["running"]


@pytest.mark.parametrize(("step", "took", "expected"), [(0, 100.0, 30.0), (10, 100.0, 30.0), (2, 100.0, 75.0)])
def test_a_stop_waits_for_three_micro_batches_where_those_are_slow(step: int, took: float, expected: float) -> None:
    run = SimpleNamespace(
        step=step, resume_step=0, first_step_at=1000.0, config={"training": {"gradient_accumulation_steps": 2}}
    )
    assert patience(run, 30.0, 1000.0 + took) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["device_out_of_memory", "bug"])
def test_what_the_trainer_says_of_itself_outweighs_how_it_ended(reason: str) -> None:
    said = {"reason": reason, "problem": "The accelerator has no memory left.", "remedy": "Take fewer at once."}
    for more in ({"exit_code": 20}, {"exit_code": -9, "oom_kills": 1}, {"exit_code": None, "shutting_down": True}):
        verdict = judge(seen(failure=said, **more))
        assert (verdict.state, verdict.reason) == ("failed", reason)
        assert (verdict.problem, verdict.remedy) == (said["problem"], said["remedy"])


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"])
def test_every_signal_of_a_crash_is_told_from_a_kill(name: str) -> None:
    verdict = judge(seen(exit_code=-int(signal.Signals[name]), attempts=1))
    assert verdict.reason == "native_crash" and name in (verdict.problem or "")


def test_a_result_of_a_stop_is_never_success() -> None:
    assert judge(seen(state="stopping", exit_code=10, result={"stopped": True})).state == "stopped"
    assert judge(seen(state="finalizing", exit_code=10, result={"stopped": True})).state != "succeeded"
    best = judge(seen(state="stopping", exit_code=10, result={"stopped": True, "best_step": 40}))
    assert best.problem == "Stopped by you. The weights of its best check, at step 40, are kept."


@given(
    state=st.sampled_from(sorted(LIVE)),
    attempts=st.integers(1, MAX_ATTEMPTS + 1),
    exit_code=st.one_of(st.none(), st.integers(-64, 255)),
    result=st.sampled_from([None, RESULT, {"stopped": True}]),
    shutting_down=st.booleans(),
    fruitless=st.integers(0, 3),
    progress=st.booleans(),
    checkpoint_step=st.integers(0, 10**6),
    ended=st.sampled_from([None, "stalled", "time_limit"]),
    oom_kills=st.integers(0, 2),
)
def test_whatever_is_left_the_verdict_ends_the_attempt_in_words_without_a_path(**left: Any) -> None:
    verdict = judge(seen(**left))
    words = f"{verdict.problem or ''} {verdict.remedy or ''}"
    assert "/" not in words and "Traceback" not in words
    assert verdict.state not in LIVE
    if left["state"] == "stopping":
        assert verdict.state == "stopped" and verdict.problem
    elif verdict.state != "succeeded":
        assert verdict.problem and verdict.remedy and verdict.reason
    if verdict.state == "succeeded":
        assert left["result"] == RESULT
    if verdict.state == "interrupted" and verdict.counts:
        assert left["attempts"] < MAX_ATTEMPTS
