"""The first page in Chromium: the welcome of a new studio, and what is going on in a used one."""

import json
import time
from collections.abc import Callable

from playwright.sync_api import Page, expect

from studio.core.stores.users import LOCAL_USER
from tests.browser.conftest import Studio
from tests.browser.seed import HOSTILE

Open = Callable[..., Page]


def test_a_new_studio_greets_and_a_double_click_on_the_demo_queues_one_run(
    empty_server: Studio, open_page: Open
) -> None:
    page = open_page(empty_server.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Teach a small model your way of doing things")
    expect(page.get_by_text("No worker is running")).to_be_visible()
    expect(page.get_by_text("What the demo teaches it to answer")).to_be_visible()
    expect(page.get_by_role("link", name="Use my own data")).to_have_attribute("href", "/new")
    page.get_by_role("button", name="Run the demo").dblclick()
    page.wait_for_url("**/run?id=*", timeout=60_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("orders-json")
    runs = empty_server.services.runs.of(LOCAL_USER)
    assert [(run.name, run.state) for run in runs] == [("orders-json", "queued")]


def test_a_studio_at_work_shows_what_runs_what_waits_and_what_came_out(server: Studio, open_page: Open) -> None:
    page = open_page(server.url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("One run is training")
    strip = page.get_by_role("region", name="Queue")
    expect(strip.get_by_role("listitem").first).to_contain_text("support-tone")
    expect(strip).to_contain_text("recipes-fr")
    expect(strip).to_contain_text(HOSTILE)
    expect(page.get_by_role("img", name="Loss so far")).to_be_visible()
    expect(page.get_by_text("93% right, base 2%")).to_be_visible()
    expect(page.get_by_role("button", name="Run the demo (about ")).to_be_visible()
    page.get_by_role("link", name="Open", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("support-tone")


def test_a_fresh_notice_of_a_restart_is_shown_and_an_old_one_is_not(server: Studio, open_page: Open) -> None:
    path = server.services.settings.data_dir / "notice.json"
    words = "The web process ended (code 1) and was started again."
    path.write_text(json.dumps({"at": time.time(), "words": words}))
    page = open_page(server.url)
    expect(page.get_by_text(words).and_(page.locator("strong:visible"))).to_be_visible()
    path.write_text(json.dumps({"at": time.time() - 700, "words": words}))
    expect(page.locator("strong:visible").filter(has_text=words)).to_have_count(0)
    path.unlink()


def test_home_fits_a_phone_in_the_dark(server: Studio, open_page: Open) -> None:
    page = open_page(server.url, width=390, dark=True)
    expect(page.get_by_role("heading", name="This machine")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
