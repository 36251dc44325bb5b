"""One run's page in Chromium, in each of its states."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from studio.core.stores.claims import Claimed
from studio.core.stores.series import Sample
from studio.core.stores.users import LOCAL_USER
from tests.browser.conftest import Studio
from tests.browser.seed import HOSTILE, Wish, add_dataset, make

Open = Callable[..., Page]


def address(server: Studio, name: str) -> str:
    """The page of a seeded run."""
    return f"{server.url}/run?id={server.runs[name].id}"


def test_a_running_run_is_followed_without_touching_the_page(server: Studio, open_page: Open) -> None:
    run = make(server.services, Wish("followed", "running", 20, 90, 60), add_dataset(server.services, "f.jsonl"))
    page = open_page(f"{server.url}/run?id={run.id}")
    expect(page.get_by_text("20 of 90")).to_be_visible()
    expect(page.get_by_role("img", name="Loss by step")).to_be_visible()
    page.locator(".ts-chart").first.get_by_text("Show the numbers").click()
    pen = Claimed(server.services.db, run.id, 1)
    pen.metrics([(45, "loss", 0.123), (45, "eval_loss", 0.321)])
    pen.samples(45, [Sample("Two flat whites.", "2 flat whites", "2 flat whites")])
    pen.progress(45, 90)
    expect(page.get_by_text("45 of 90")).to_be_visible()
    expect(page.get_by_text("0.32 at step 45")).to_be_visible()
    expect(page.locator(".ts-answers li", has_text="Step 45")).to_contain_text("as expected")
    expect(page.locator(".ts-numbers").first).to_be_visible()  # what was unfolded stays so
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    server.services.runs.move(server.services.runs.get(run.id, LOCAL_USER), "failed", server.services.runs.events(
        run.id, LOCAL_USER)[0], problem="Out of disk.", remedy="Make room, then start it again.")  # fmt: skip
    expect(page.get_by_text("Make room, then start it again.")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()


def test_a_finished_run_says_what_came_out_and_gives_its_adapter(server: Studio, open_page: Open) -> None:
    page = open_page(address(server, "orders-json"))
    run_id = server.runs["orders-json"].id
    expect(page.get_by_text("Better than the base model")).to_be_visible()
    expect(page.get_by_text("93% of 60 held-out examples come out exactly right")).to_be_visible()
    expect(page.get_by_role("link", name="Try it")).to_have_attribute("href", f"/playground?run={run_id}&ask=1")
    expect(page.get_by_role("link", name="Duplicate")).to_have_attribute("href", f"/new?from={run_id}")
    asked = "Three espressos <b>for</b> Ada."
    expect(page.locator(".ts-answers").get_by_role("heading", name=asked)).to_be_visible()  # on the way
    expect(page.locator(".ts-duel p", has_text=asked)).to_be_visible()  # in the end
    for link, ending in (("Download adapter", "-adapter.zip"), ("Download log", ".log")):
        with page.expect_download() as waiting:
            page.get_by_role("link", name=link).click()
        assert waiting.value.suggested_filename == f"orders-json{ending}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("legal-first-try", "Set Examples at once to 4 and Batches per step to 2."),
        ("haiku", "Its adapter is ready to try."),
        ("tickets-small", "It goes on by itself."),
        ("recipes-fr", "Waiting for its turn"),
        ("faq-bot", "Held-out loss went from 1.92 to 0.41."),
    ],
)
def test_every_state_says_what_it_means(server: Studio, open_page: Open, name: str, words: str) -> None:
    page = open_page(address(server, name))
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.locator(".ts-note").filter(has_text=words)).to_be_visible()


def test_a_waiting_run_is_taken_out_of_the_line_with_one_click(server: Studio, open_page: Open) -> None:
    run = make(server.services, Wish("not-wanted", "queued"), add_dataset(server.services, "g.jsonl"))
    page = open_page(f"{server.url}/run?id={run.id}")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped by you before it began.")).to_be_visible()
    assert server.services.runs.get(run.id, LOCAL_USER).state == "stopped"


def test_a_stop_that_comes_too_late_is_answered_by_a_note_that_stays(server: Studio, open_page: Open) -> None:
    run = make(server.services, Wish("too-late", "queued"), add_dataset(server.services, "h.jsonl"))
    page = open_page(f"{server.url}/run?id={run.id}")
    button = page.get_by_role("button", name="Stop", exact=True)
    expect(button).to_be_visible()
    store = server.services.runs
    store.move(store.get(run.id, LOCAL_USER), "stopped", store.events(run.id, LOCAL_USER)[0])
    button.click()
    note = page.get_by_text("This run has already ended.")
    expect(note).to_be_visible()
    expect(button).to_be_hidden()  # a tick went by
    expect(note).to_be_visible()


def test_how_it_was_set_and_the_end_of_the_log_can_be_read(server: Studio, open_page: Open) -> None:
    page = open_page(address(server, "support-tone"))
    expect(page.get_by_text("orders.jsonl, version 1")).to_be_visible()
    expect(page.get_by_text("PyPI wheel")).to_be_visible()
    page.get_by_text("Every setting").click()
    expect(page.get_by_text("Weight decay")).to_be_visible()
    page.get_by_text("What it ran with").click()
    expect(page.get_by_text("transformers", exact=True)).to_be_visible()
    page.get_by_text("Last lines of the log").click()
    log = page.locator(".ts-more", has_text="Last lines of the log").locator(".ts-log")
    expect(log).to_be_visible()
    expect(log).to_contain_text("reading <data dir>/models/starter")
    expect(log).not_to_contain_text(str(server.services.settings.data_dir))
    assert "\x1b" not in log.inner_text()


@pytest.mark.parametrize(("query", "words"), [("", "No run is chosen"), ("?id=nope", "There is no such run")])
def test_without_a_run_the_page_says_what_to_do(server: Studio, open_page: Open, query: str, words: str) -> None:
    page = open_page(f"{server.url}/run{query}")
    expect(page.get_by_role("heading", name=words)).to_be_visible()
    expect(page.get_by_role("link", name="All runs")).to_have_attribute("href", "/runs")


def test_a_hostile_name_is_shown_as_it_was_typed(server: Studio, open_page: Open) -> None:
    page = open_page(address(server, HOSTILE), width=390, dark=True)
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_run_whose_best_check_lies_behind_is_stopped_with_it_in_one_click(server: Studio, open_page: Open) -> None:
    wish = Wish("past its best", "running", 100, 120, 60, overfits=True)
    run = make(server.services, wish, add_dataset(server.services, "p.jsonl"))
    page = open_page(f"{server.url}/run?id={run.id}")
    page.get_by_role("button", name="Stop and keep the best (step 48)").click()
    expect(page.get_by_text("The weights of its best check are kept.").first).to_be_visible()
    now = server.services.runs.get(run.id, LOCAL_USER)
    assert (now.state, now.reason) == ("stopping", "keep_best")
    server.services.runs.move(now, "stopped", server.services.runs.events(run.id, LOCAL_USER)[0])
