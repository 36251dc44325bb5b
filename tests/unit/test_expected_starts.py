"""When the waiting runs may start, from what each of them takes."""

from typing import Any

import pytest

from studio.core.stores.runs import Run
from studio.core.use_cases.line import expected_starts

NOW = 10_000.0


def run(name: str, state: str = "queued", position: int = 1, **changes: Any) -> Run:
    """A run of which only what matters is set."""
    values: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__)
    values |= {"step": 0, "steps": 0, "resume_step": 0, "checkpoint_step": 0, "held": False, "expected_seconds": 100.0}
    return Run(**{**values, "id": name, "state": state, "position": position, **changes})


def working(left: float) -> Run:
    """A run at work: half of its steps took as long as it still takes."""
    return run("w", "running", 0, step=10, steps=20, started_at=NOW - left - 5, first_step_at=NOW - left)


def test_each_starts_when_the_one_before_has_ended() -> None:
    starts = expected_starts([working(60), run("a", position=2), run("b", position=1)], False, NOW)
    assert starts == {"b": NOW + 60, "a": NOW + 160}


def test_a_run_that_goes_on_takes_only_what_is_left() -> None:
    again = run("a", position=1, steps=100, checkpoint_step=75)
    assert expected_starts([again, run("b", position=2)], False, NOW) == {"a": NOW, "b": NOW + 25}


def test_nobody_knows_while_the_queue_is_paused() -> None:
    assert expected_starts([run("a")], True, NOW) == {"a": None}


def test_a_held_run_lets_the_others_pass() -> None:
    assert expected_starts([run("a", held=True), run("b", position=2)], False, NOW) == {"a": None, "b": NOW}


def test_behind_a_run_of_unknown_length_nobody_knows() -> None:
    starts = expected_starts([run("a", expected_seconds=None), run("b", position=2)], False, NOW)
    assert starts == {"a": NOW, "b": None}


@pytest.mark.parametrize(("held", "start"), [(False, NOW + 200), (True, None)])
def test_a_run_after_another_waits_for_its_end(held: bool, start: float | None) -> None:
    line = [run("a", held=held), run("b", position=2), run("c", position=3, after_run_id="a")]
    assert expected_starts(line, False, NOW)["c"] == start


def test_a_run_that_pauses_after_a_failure_starts_no_earlier() -> None:
    assert expected_starts([run("a", not_before=NOW + 500)], False, NOW) == {"a": NOW + 500}


def test_a_run_placed_before_the_one_that_it_waits_for_lets_it_pass() -> None:
    line = [run("c", position=1, after_run_id="a"), run("a", position=2), run("b", position=3)]
    assert expected_starts(line, False, NOW) == {"a": NOW, "c": NOW + 100, "b": NOW + 200}


def test_behind_a_run_that_waits_for_a_held_one_the_others_start() -> None:
    line = [run("a", held=True), run("c", position=2, after_run_id="a"), run("b", position=3)]
    assert expected_starts(line, False, NOW) == {"a": None, "c": None, "b": NOW}


def test_while_a_run_pauses_after_a_failure_the_others_start() -> None:
    line = [run("a", not_before=NOW + 150), run("b", position=2), run("c", position=3), run("d", position=4)]
    assert expected_starts(line, False, NOW) == {"b": NOW, "c": NOW + 100, "a": NOW + 200, "d": NOW + 300}


def test_a_run_after_one_that_ended_or_is_at_work_needs_no_more_than_its_turn() -> None:
    line = [working(60), run("a", position=1, after_run_id="w"), run("b", position=2, after_run_id="ended")]
    assert expected_starts([*line, run("ended", "failed")], False, NOW) == {"a": NOW + 60, "b": NOW + 160}
