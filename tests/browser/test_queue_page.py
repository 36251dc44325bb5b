"""The line of waiting runs in Chromium: one order for all browsers, moved, held and paused, and the same later."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from tests.browser.conftest import Studio, running
from tests.browser.seed import Wish, add_dataset, make, see_machine
from tests.browser.tiny_studio import add_orders, tiny_studio
from tests.waiting import wait_until

Open = Callable[..., Page]
FOLLOW_MS = 2000


def line(page: Page) -> Locator:
    """The runs that wait, in their order."""
    return page.locator(".ts-line .ts-choice label")


def expect_order(page: Page, *names: str, within: float = 15_000) -> None:
    """The line shows exactly these runs."""
    expect(line(page)).to_have_text(
        [re.compile(f"^ *{i}. {name}\\b") for i, name in enumerate(names, 1)], timeout=within
    )


def choose(page: Page, name: str) -> None:
    """Choose a waiting run."""
    line(page).filter(has_text=name).click()


def press(page: Page, name: str) -> None:
    """Press a button of the card, as soon as it can be pressed."""
    page.locator(".ts-line").get_by_role("button", name=name, exact=True).click()


def start_one(page: Page, url: str, version_id: str, name: str) -> None:
    """Queue a run by the form."""
    page.goto(f"{url}/new?dataset={version_id}")
    expect(page.get_by_text("The starter model. Already on this machine.")).to_be_visible()  # the first values are in
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/run?id=*")


def test_a_line_made_in_two_browsers_is_one_line_that_both_see_move_and_find_again_after_a_restart(
    tmp_path: Path, open_page: Open
) -> None:
    data = tmp_path / "data"
    with tiny_studio(data) as studio:
        version = add_orders(studio.services, tmp_path)
        one, two = open_page(studio.url), open_page(studio.url)
        for page, name in ((one, "first"), (two, "second"), (one, "third")):
            start_one(page, studio.url, version.id, name)
        for page in (one, two):
            page.goto(f"{studio.url}/runs")
            expect_order(page, "first", "second", "third")
        choose(one, "third")
        press(one, "Move up")
        expect_order(two, "first", "third", "second", within=FOLLOW_MS)
        expect_order(one, "first", "third", "second", within=FOLLOW_MS)
        expect(line(one).filter(has_text="third").get_by_role("radio")).to_be_checked()
        press(one, "Move up")
        expect_order(two, "third", "first", "second", within=FOLLOW_MS)
        choose(two, "first")
        press(two, "Hold")
        expect(line(one).filter(has_text="first")).to_contain_text("Held", timeout=FOLLOW_MS)
        press(two, "Pause the queue")
        expect(one.get_by_text("The queue is paused")).to_be_visible(timeout=FOLLOW_MS)
        expect(line(one).filter(has_text="second")).to_contain_text("When the queue is resumed")
        for page in (one, two):
            page.context.close()
    with running(data, seeded=False) as studio:
        page = open_page(f"{studio.url}/runs")
        expect_order(page, "third", "first", "second")
        expect(line(page).filter(has_text="first")).to_contain_text("Held")
        press(page, "Resume the queue")
        expect(page.get_by_text("The queue is paused")).to_be_hidden()
        expect(line(page).filter(has_text="second")).not_to_contain_text("resumed")
        page.context.close()


def test_the_ends_of_the_line_are_said_and_a_run_is_taken_out(tmp_path: Path, open_page: Open) -> None:
    with running(tmp_path / "data", seeded=False) as studio:
        see_machine(studio.services)
        dataset = add_dataset(studio.services)
        for name in ("near", "far"):
            make(studio.services, Wish(name, "queued"), dataset)
        page = open_page(f"{studio.url}/runs")
        card = page.locator(".ts-line")
        expect(card.get_by_role("button", name="Move up")).to_be_disabled()
        expect(card.get_by_text("It is first in line.")).to_be_visible()
        expect(line(page).first).to_contain_text("Starts any moment")
        expect(line(page).last).to_contain_text("Starts about ")
        choose(page, "far")
        expect(card.get_by_text("It is last in line.")).to_be_visible()
        press(page, "Take out")
        expect_order(page, "near")
        expect(card.get_by_text("It is the only one in line.")).to_be_visible()
        press(page, "Take out")
        expect(card).to_be_hidden()
        page.context.close()


def test_a_waiting_run_is_moved_and_held_on_its_own_page(server: Studio, open_page: Open) -> None:
    dataset = add_dataset(server.services, "moved.jsonl")
    runs = [make(server.services, Wish(name, "queued"), dataset) for name in ("here", "behind")]
    page = open_page(f"{server.url}/run?id={runs[1].id}")
    expect(page.get_by_role("button", name="Move down")).to_be_hidden()
    page.get_by_role("button", name="Move up").click()
    expect(page.get_by_role("button", name="Move down")).to_be_visible()
    assert row(server, runs[1]).position < row(server, runs[0]).position
    page.get_by_role("button", name="Hold", exact=True).click()
    expect(page.get_by_text("It waits until you release it.")).to_be_visible()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("Waiting for its turn")).to_be_visible()
    for run in runs:
        server.services.runs.move(row(server, run), "stopped", server.services.runs.events(run.id, LOCAL_USER)[0])


def row(studio: Studio, run: Run) -> Run:
    """The run as it stands now."""
    return studio.services.runs.get(run.id, LOCAL_USER)


def test_a_run_that_was_cut_off_says_from_where_it_goes_on(server: Studio, open_page: Open) -> None:
    wish = Wish("cut-off", "interrupted", 120, 400, 900, problem="The worker was shut down.", checkpoint=100)
    run = make(server.services, wish, add_dataset(server.services, "cut.jsonl"))
    page = open_page(f"{server.url}/run?id={run.id}")
    expect(page.get_by_text("Its newest checkpoint is step 100, saved ")).to_be_visible()
    server.services.runs.move(row(server, run), "queued", server.services.runs.events(run.id, LOCAL_USER)[0])
    expect(page.get_by_text("The worker was shut down. It goes on from step 100, saved ")).to_be_visible()
    server.services.runs.move(row(server, run), "stopped", server.services.runs.events(run.id, LOCAL_USER)[0])


def test_a_failed_run_is_tried_again_with_one_click_that_makes_one_run(tmp_path: Path, open_page: Open) -> None:
    with tiny_studio(tmp_path / "data") as studio:
        version = add_orders(studio.services, tmp_path)
        wish = Wish("too-big", "failed", 4, 40, 600, 60, "out_of_memory", "Out of memory at step 4 of 40.", "Halve it.")
        run = make(studio.services, wish, version)
        page = open_page(f"{studio.url}/run?id={run.id}")
        page.get_by_role("button", name="Retry with less memory, about a third slower").dblclick()
        expect(page.get_by_text("Waiting for its turn")).to_be_visible()
        new = [one for one in studio.services.runs.of(LOCAL_USER) if one.state == "queued"]
        assert [one.config["training"]["activation_checkpointing"] for one in new] == ["full"]
        heart = make(studio.services, Wish("by-heart", "succeeded", 120, 120, 600, 60, overfits=True), version)
        page.goto(f"{studio.url}/run?id={heart.id}")
        expect(page.locator(".ts-note").filter(has_text="Overfitting since step 48")).to_be_visible()
        page.get_by_role("button", name="Retry with the best kept").click()
        expect(page.get_by_text("Waiting for its turn")).to_be_visible()
        *_, newest = [one for one in studio.services.runs.of(LOCAL_USER) if one.state == "queued"]
        assert newest.config["training"]["load_best_model_at_end"] is True
        page.context.close()


def test_a_run_is_deleted_only_after_a_second_click_and_its_checkpoints_can_go_before(
    server: Studio, open_page: Open
) -> None:
    wish = Wish("unwanted", "succeeded", 90, 90, 900, checkpoint=90)
    run = make(server.services, wish, add_dataset(server.services, "unwanted.jsonl"))
    folder = server.services.artifacts.run_dir(run.id)
    page = open_page(f"{server.url}/run?id={run.id}")
    page.get_by_role("button", name="Remove checkpoints (180 kB)").click()
    expect(page.get_by_role("button", name="Remove checkpoints")).to_be_hidden()
    assert not (folder / "checkpoints").exists() and (folder / "adapter").is_dir()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("button", name="Delete for good")).to_be_hidden()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/runs")
    expect(page.get_by_role("link", name="orders-json")).to_be_visible()
    expect(page.get_by_role("link", name="unwanted")).to_have_count(0)
    wait_until(lambda: not folder.exists(), 5)


def test_a_run_can_be_started_after_another_one(tmp_path: Path, open_page: Open) -> None:
    with tiny_studio(tmp_path / "data") as studio:
        version = add_orders(studio.services, tmp_path)
        first = make(studio.services, Wish("the-first", "queued"), version)
        page = open_page(f"{studio.url}/new?dataset={version.id}")
        page.get_by_label("Starts", exact=True).click()
        page.get_by_role("option", name="After the-first").click()
        page.get_by_role("button", name="Start", exact=True).click()
        page.wait_for_url("**/run?id=*")
        expect(page.get_by_text("Waiting for the-first")).to_be_visible()
        after = [run.after_run_id for run in studio.services.runs.of(LOCAL_USER) if run.id != first.id]
        assert after == [first.id]
        page.context.close()
