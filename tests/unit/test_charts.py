"""Charts stand every series that a run can produce."""

import math
import random
import re

import pytest

from studio.ui.charts import MOST_POINTS, Line, chart, nice, smooth, sparkline, thin

FALL = [(step, 2.0 / step) for step in range(1, 101)]


def coordinates(drawn: str) -> list[float]:
    """All numbers of all paths."""
    return [float(n) for path in re.findall(r' d="([^"]*)"', drawn) for n in re.findall(r"-?\d+\.\d+", path)]


@pytest.mark.parametrize(
    "points",
    [
        [(1, 0.5)],
        [(1, 0.0), (2, 0.0)],
        [(1, -3.0), (2, -1.0)],
        [(1, -3.0), (2, 1.0)],
        [(1, math.nan), (2, 1.0), (3, math.inf), (4, 2.0), (5, 2.5)],
        [(0, 1.0)],
        [(1, 1e-9), (2, 2e-9)],
        [(1, 1e12), (2, 2.0)],
        [(1, 3e-4), (1, 2e-4)],
        FALL,
    ],
)
def test_a_chart_draws_any_values_inside_its_box(points: list[tuple[float, float]]) -> None:
    drawn = chart("Loss", [Line("Training", points), Line("Held out", points[:1], "s2")], 10)
    assert all(0 <= n <= 1000 for n in coordinates(drawn))
    assert "nan" not in drawn.lower() and "inf" not in drawn.lower()
    assert "<table" in drawn and "<tbody><tr>" in drawn and 'role="img"' in drawn


@pytest.mark.parametrize("lines", [[], [Line("Training", [])], [Line("Training", [(1, math.nan)])], [Line("", FALL)]])
def test_a_chart_without_values_says_when_it_will_be_drawn(lines: list[Line]) -> None:
    drawn = chart("Loss", lines, 100)
    assert "ts-empty" in drawn and "first step" in drawn


def test_a_value_that_is_not_finite_breaks_the_line() -> None:
    drawn = chart("Loss", [Line("Training", [(1, 1.0), (2, 1.0), (3, math.nan), (4, 1.0), (5, 1.0)])], 5)
    (line,) = re.findall(r'<path class="line s1" d="(M[^"]*L[^"]*)"', drawn)
    assert line.count("M") == 2


def test_at_most_600_points_are_drawn_and_the_extremes_stay() -> None:
    chance = random.Random(1)
    points = [(float(step), chance.random()) for step in range(10_000)]
    points[5000] = (5000.0, 9.0)
    kept = thin(points)
    assert len(kept) <= MOST_POINTS and (5000.0, 9.0) in kept and kept[0] == points[0] and kept[-1] == points[-1]
    assert kept == sorted(kept)
    assert len(chart("Loss", [Line("Training", points)], 10_000)) < 40_000


def test_the_empty_part_of_the_plot_is_what_is_still_to_come() -> None:
    drawn = chart("Loss", [Line("Training", FALL)], 400)
    assert max(coordinates(drawn)[::2]) <= 1000 and "left:100.00%" in drawn
    (line,) = re.findall(r'<path class="line s1" d="(M[^"]*L[^"]*)"', drawn)
    assert max(float(pair.split()[0]) for pair in line[1:].split("L")) == 250


def test_steps_beyond_the_planned_end_widen_the_plot() -> None:
    assert max(coordinates(chart("Loss", [Line("Training", FALL)], 50))) <= 1000


def test_small_values_are_scaled_and_the_title_says_so() -> None:
    drawn = chart("Learning rate", [Line("Now", [(1, 1e-4), (2, 2e-4)])], 10)
    assert "× 0.0001" in drawn and "<b>2.00</b>" in drawn


def test_the_best_step_is_marked_only_inside_the_plot() -> None:
    assert "Best, step 40" in chart("Loss", [Line("Training", FALL)], 100, best=40)
    assert "Best" not in chart("Loss", [Line("Training", FALL)], 100, best=400)


def test_the_table_has_the_newest_first_and_the_value_of_both_lines() -> None:
    drawn = chart("Loss", [Line("Training", FALL), Line("Held out", [(50, 0.5), (100, 0.4)], "s2")], 100)
    rows = re.findall(r"<tr><td>(\d+)</td><td>([^<]*)</td><td>([^<]*)</td>", drawn)
    assert rows == [("100", "0.02", "0.40"), ("50", "0.04", "0.50")]


def test_names_and_titles_are_escaped() -> None:
    assert "<x>" not in chart("<x>", [Line("<x>", FALL)], 100)


def test_a_mean_does_not_lag_and_skips_what_is_not_finite() -> None:
    assert smooth([(1, 1.0), (2, math.nan), (3, 3.0)], 1) == [(1, 2.0), (3, 2.0)]
    assert smooth([]) == []


@pytest.mark.parametrize(("top", "step"), [(3, 1), (2.4, 1), (100, 25), (1, 0.25), (0.9, 0.25), (1e-7, 2.5e-8)])
def test_ticks_are_round_numbers(top: float, step: float) -> None:
    assert nice(top, 4) == pytest.approx(step)


def test_a_sparkline_of_nothing_is_nothing() -> None:
    assert sparkline([], 10) == "" and "now 0.02" in sparkline(FALL, 100)
