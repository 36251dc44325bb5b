"""Two runs side by side: their outcomes, their curves in one chart, and what was set differently."""

import dataclasses
import re

import pytest

from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.pages import compare, runs
from studio.ui import compare_view, run_view
from tests.browser.seed import HOSTILE, Wish, add_dataset, make, seed


@pytest.fixture
def seeded(services: Services) -> dict[str, Run]:
    """Runs in every state."""
    return seed(services)


def cells(markup: str, name: str) -> list[str]:
    """The words of a row of a table."""
    found = re.search(rf'<th scope="row">{re.escape(name)}</th>(.*?)</tr>', markup)
    assert found, (name, markup)
    return [re.sub("<.*?>", "", cell) for cell in re.findall("<td>(.*?)</td>", found[1])]


def test_both_losses_stand_in_one_chart_and_the_outcomes_beside_each_other(
    services: Services, seeded: dict[str, Run]
) -> None:
    first, second = seeded["orders-json"], seeded["faq-bot"]
    chart, outcomes, settings = compare.drawn(services, LOCAL_USER, first.id, second.id)
    for words in ("A training", "A held out", "B training", "B held out"):
        assert words in chart
    assert chart.count('class="line s1"') and chart.count('class="line s3"') and "<table" in chart
    assert cells(outcomes, "Step") == ["90 of 90", "400 of 400"]
    assert cells(outcomes, "Took") == ["3 min 24 s", "9 min 31 s2.8 times A"]
    assert f"/run?id={first.id}" in outcomes and "tokens/s" in cells(outcomes, "Speed")[0]
    assert cells(settings, "Answer held-out examples") == ["yes", "no"]
    assert "Learning rate" not in settings


def test_runs_that_were_set_the_same_say_so_and_hostile_names_are_shown_literally(
    services: Services, seeded: dict[str, Run]
) -> None:
    twin = make(services, Wish(HOSTILE, "stopped", 60, 300, 80000, 370), add_dataset(services))
    other = dataclasses.replace(seeded["haiku"], dataset_version_id=twin.dataset_version_id)
    assert "both runs were set the same" in compare_view.settings([other, twin])
    page = "".join(compare.drawn(services, LOCAL_USER, seeded["haiku"].id, twin.id))
    assert "<img" not in page and "&lt;img" in page
    assert cells(page, "Dataset")[1].endswith("another version")


def test_those_asked_for_are_compared_else_the_newest_that_have_begun(
    services: Services, seeded: dict[str, Run]
) -> None:
    begun = compare.comparable(services, LOCAL_USER)
    assert {run.name for run in begun} == {name for name, run in seeded.items() if run.state != "queued"}
    one, other, third = (run.id for run in begun[:3])
    assert compare.chosen(begun, third, other) == (third, other)
    assert compare.chosen(begun, third, "") == (third, one)
    assert compare.chosen(begun, one, one) == (one, other)
    assert compare.chosen(begun, "nothing", "") == (one, other)
    assert compare.chosen(begun[:1], "", "") == (one, "")


def test_a_run_of_somebody_else_is_not_compared(services: Services, seeded: dict[str, Run]) -> None:
    with pytest.raises(NotFound):
        compare.drawn(services, "somebody", seeded["haiku"].id, seeded["faq-bot"].id)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [(2.0, 1.5, "25% less than A"), (1.0, 1.2, "20% more than A"), (1.0, 3.0, "3 times A"), (1.0, 1.001, "as A"),
     (0.0, 1.0, ""), (None, 1.0, "")],
)  # fmt: skip
def test_the_difference_is_said_in_words(first: float | None, second: float | None, words: str) -> None:
    assert compare_view.off(first, second) == words


def test_the_way_to_compare_stands_on_the_list_and_on_a_run_that_has_begun(seeded: dict[str, Run]) -> None:
    assert 'href="/compare"' in runs.to_compare(list(seeded.values()))
    assert not runs.to_compare([seeded["haiku"], seeded["recipes-fr"]])
    assert "/compare?a=" in run_view.run_links(seeded["haiku"], False, False)
    assert "/compare" not in run_view.run_links(seeded["recipes-fr"], False, False)
