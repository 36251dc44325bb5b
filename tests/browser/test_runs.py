"""The list of runs in Chromium."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio
from tests.browser.seed import HOSTILE

Open = Callable[..., Page]


def names(page: Page) -> list[str]:
    """The runs' names as listed."""
    return page.locator(".ts-runs tbody th").all_inner_texts()


def test_the_list_shows_every_run_and_the_switch_keeps_those_of_a_kind(server: Studio, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs")
    expect(page.locator(".ts-runs tbody tr").first).to_contain_text("support-tone")
    assert {HOSTILE, "orders-json", "faq-bot", "legal-first-try", "haiku", "tickets-small"} <= set(names(page))
    page.get_by_text("Needs a look", exact=True).click()
    expect(page.locator(".ts-runs tbody tr", has_text="haiku")).to_have_count(0)
    assert {"legal-first-try", "tickets-small"} <= set(names(page)) and "orders-json" not in names(page)
    page.get_by_text("Going", exact=True).click()
    expect(page.locator(".ts-runs tbody tr").first).to_contain_text("support-tone")
    assert "haiku" not in names(page)


def test_a_name_opens_its_run(server: Studio, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs")
    page.get_by_role("link", name="legal-first-try").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("legal-first-try")


def test_a_studio_without_runs_says_what_to_do(empty_server: Studio, open_page: Open) -> None:
    page = open_page(f"{empty_server.url}/runs")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    expect(page.locator(".ts-empty").get_by_role("link", name="New run")).to_have_attribute("href", "/new")


def test_the_list_becomes_cards_on_a_phone(server: Studio, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs", width=390)
    expect(page.locator(".ts-runs tbody tr").first).to_contain_text("support-tone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_runs_are_compared_in_three_clicks_and_on_a_phone_too(server: Studio, open_page: Open) -> None:
    page = open_page(f"{server.url}/runs", width=390)
    page.get_by_role("link", name="Compare two").click()
    expect(page.get_by_role("img", name="Loss by step")).to_be_visible()
    page.get_by_label("Run B").click()
    page.get_by_role("option", name="faq-bot (succeeded").click()
    expect(page.locator(".ts-numbers", has_text="Best held-out loss")).to_contain_text("B faq-bot")
    expect(page.get_by_role("heading", name="What was set differently")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
