"""Datasets in Chromium: the list, a new one from a file, and one as the model reads it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio
from tests.browser.tiny_studio import add_orders, drop, fits, tiny_studio, write_orders

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with tiny_studio(tmp_path_factory.mktemp("datasets") / "data") as studio:
        yield studio


def test_an_empty_list_says_what_to_do_and_a_file_becomes_a_dataset_of_its_own_page(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(f"{tiny.url}/datasets")
    expect(page.get_by_text("No datasets yet")).to_be_visible()
    drop(page, write_orders(tmp_path, rows=20, name="<b>bold.csv"))
    expect(page.get_by_text("2 of 20 rows can not be used as they are")).to_be_visible()
    page.get_by_role("button", name="Use it without 2 rows").click()
    page.wait_for_url("**/datasets?id=*")
    expect(page.get_by_role("heading", level=1)).to_have_text("<b>bold.csv")
    page.get_by_role("link", name="Datasets").first.click()
    expect(page.get_by_role("link", name="<b>bold.csv")).to_be_visible()


def test_one_dataset_shows_what_the_model_sees_and_how_the_file_was_read(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    version = add_orders(tiny.services, tmp_path)
    page = open_page(f"{tiny.url}/datasets?id={version.dataset_id}")
    expect(page.get_by_text("Template of SmolLM2-135M-Instruct")).to_be_visible()
    expect(page.get_by_text("Example 1 of 36, row 1 of the file")).to_be_visible()
    learnt = "".join(page.locator(".text .tok.learnt").all_inner_texts())
    assert learnt == '{"item": "apples", "count": 0}<|im_end|>'
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Example 2 of 36")).to_be_visible()
    page.get_by_text("Text", exact=True).click()
    expect(page.get_by_text("Please send 1 apples <b>to</b> Anna.")).to_be_visible()
    for number in (1, 36):
        page.get_by_role("button", name="Previous").click()
        expect(page.get_by_text(f"Example {number} of 36")).to_be_visible()
    expect(page.get_by_text("tokens on average, none would be cut")).to_be_visible()
    expect(page.get_by_text("4 rows left out").last).to_be_visible()
    expect(page.get_by_text("Rows 10, 20, 30 and 40.")).to_be_visible()
    expect(page.get_by_text("CSV, commas, UTF-8")).to_be_visible()
    page.get_by_role("link", name="Train on it").click()
    expect(page.get_by_label("From your datasets")).to_have_value("orders.csv (36 examples)")


def test_before_the_starter_model_is_here_the_page_says_so(
    empty_server: Studio, open_page: Open, tmp_path: Path
) -> None:
    version = add_orders(empty_server.services, tmp_path)
    page = open_page(f"{empty_server.url}/datasets?id={version.dataset_id}")
    expect(page.get_by_text("The starter model is not on this machine yet").first).to_be_visible()
    page.goto(f"{empty_server.url}/new?dataset={version.id}")
    expect(page.get_by_text("The starter model is fetched first")).to_be_visible()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()


def test_an_unknown_dataset_is_an_empty_place_with_a_way_on(tiny: Studio, open_page: Open) -> None:
    page = open_page(f"{tiny.url}/datasets?id=nonesuch")
    expect(page.get_by_role("heading", name="There is no such dataset.")).to_be_visible()
    expect(page.get_by_role("link", name="All datasets")).to_have_attribute("href", "/datasets")


def test_one_dataset_fits_a_phone_in_the_dark(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    version = add_orders(tiny.services, tmp_path)
    page = open_page(f"{tiny.url}/datasets?id={version.dataset_id}", width=390, dark=True)
    expect(page.get_by_text("tokens on average")).to_be_visible()
    assert fits(page, 390)
