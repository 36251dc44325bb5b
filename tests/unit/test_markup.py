"""Markup escapes by itself, and numbers are said in words with their units."""

import math
import time

import pytest
from markupsafe import Markup

from studio.core.states import STATES
from studio.ui import markup, units
from studio.ui.frame import Chip, frame, unless_same

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


@pytest.mark.parametrize(
    "drawn",
    [
        markup.facts([(HOSTILE, HOSTILE)]),
        markup.note("bad", HOSTILE, HOSTILE, HOSTILE),
        markup.head(HOSTILE, HOSTILE, HOSTILE, "Runs"),
        markup.cardhead(HOSTILE, HOSTILE),
        markup.more(HOSTILE, HOSTILE),
        markup.bar(0.5, HOSTILE),
        markup.empty(HOSTILE, HOSTILE),
        markup.log_text(HOSTILE),
        markup.link(HOSTILE, "/runs?x=" + HOSTILE),
        markup.join([HOSTILE]),
        frame("Runs", Chip("x" + HOSTILE, HOSTILE, "running", 0.5, HOSTILE)),
    ],
)
def test_text_from_people_is_escaped_wherever_it_is_put_in(drawn: Markup) -> None:
    assert "<img" not in drawn
    assert "&lt;img" in drawn or "%3Cimg" in drawn
    assert 'onerror=alert(1)>"' not in drawn


def test_markup_passes_as_it_is() -> None:
    assert "<b>x</b>" in markup.muted(Markup("<b>x</b>"))


@pytest.mark.parametrize("name", STATES)
def test_every_state_has_a_shape_and_a_word(name: str) -> None:
    assert "<svg" in markup.state(name) and name.capitalize() in markup.state(name)
    assert name.capitalize() not in markup.state(name, words=False)


@pytest.mark.parametrize(("share", "width"), [(0.5, "50"), (-1, "0"), (7, "100"), (math.nan, "0"), (math.inf, "0")])
def test_a_bar_stays_within_its_box(share: float, width: str) -> None:
    assert f'aria-valuenow="{width}"' in markup.bar(share, "Progress")


def test_the_frame_marks_the_place_that_is_open_and_has_a_chip_only_for_a_run() -> None:
    assert '<a href="/runs" aria-current="page">' in frame("Runs")
    assert "chip" not in frame("Runs")
    assert 'href="/run?id=abc"' in frame("Runs", Chip("abc", "orders", "running", 0.999, "about 2 min left"))


def test_an_update_that_changes_nothing_is_not_sent() -> None:
    assert unless_same(Markup("<p>a</p>"), "<p>a</p>") != "<p>a</p>"
    assert unless_same(Markup("<p>b</p>"), "<p>a</p>") == "<p>b</p>"


def test_moments_are_told_by_day() -> None:
    noon = time.mktime((2026, 3, 10, 12, 0, 0, 0, 0, -1))
    assert markup.moment(noon, noon + 60) == "Today 12:00"
    assert markup.moment(noon, noon + 86400) == "Yesterday 12:00"
    assert markup.moment(noon, noon + 5 * 86400) == "10 March"
    assert markup.moment(noon, noon + 400 * 86400) == "10 March 2026"
    assert markup.when(None) == "" and 'datetime="2026-03-' in markup.when(noon)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (units.gib(9.3 * units.GIB), "9.3 GiB"),
        (units.gib(12 * units.GIB), "12 GiB"),
        (units.gib(640 * 1024**2), "640 MiB"),
        (units.file_size(212_400_000), "212 MB"),
        (units.file_size(1_440_000_000), "1.4 GB"),
        (units.file_size(1), "1 byte"),
        (units.duration(4.21), "4.2 s"),
        (units.duration(102), "1 min 42 s"),
        (units.duration(11_100), "3 h 5 min"),
        (units.duration(None), "unknown"),
        (units.left(1000), "about 17 min left"),
        (units.left(20), "under a minute left"),
        (units.left(9000), "about 2 h 30 min left"),
        (units.left(math.nan), ""),
        (units.count(1234, "example"), "1,234 examples"),
        (units.count(1, "example"), "1 example"),
        (units.percent(0.9999), "99%"),
        (units.percent(0.0001), "1%"),
        (units.percent(math.nan), "–"),
        (units.figure(0.4137, 2), "0.41"),
        (units.figure(7.84e-5, 2), "7.84e-05"),
        (units.figure(0.0012, 2), "0.0012"),
        (units.figure(-math.inf), "–"),
        (units.figure(None), "–"),
        (units.figure(1234.5, 0), "1,234"),
    ],
)
def test_numbers_are_said_with_their_units(said: str, words: str) -> None:
    assert said == words
