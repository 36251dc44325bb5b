"""The base model's card in Chromium against a stand-in Hub: searched, chosen, gated, fetched with a token."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from studio.ui.model_card import LABEL
from tests.browser.conftest import Studio
from tests.browser.tiny_studio import fits, tiny_studio
from tests.integration.hub_server import Hub, Repo, serving
from tests.integration.tiny import make_tiny_model

Open = Callable[..., Page]
TOKEN = "hf_of_a_person"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = make_tiny_model(tmp_path_factory.mktemp("hub") / "model")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    base = {name: data for name, data in files.items() if name != "chat_template.jinja"}
    repos = {
        "acme/tiny-chat": Repo(files, downloads=1_234_567, parameters=494_032_768),
        "acme/tiny-gated": Repo(files, gated=True, readers=(TOKEN,), licence="llama3.2", downloads=90_000,
                                parameters=1_235_814_400),
        "acme/tiny-base": Repo(base, licence="mit", downloads=812, parameters=134_515_008),
    }  # fmt: skip
    with serving(repos) as running:
        yield running


@pytest.fixture(scope="module")
def studio(server: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    where = {"HF_ENDPOINT": server.address, "HF_HUB_OFFLINE": "0"}
    with tiny_studio(tmp_path_factory.mktemp("models") / "data", **where) as running:
        yield running


def choose(page: Page, typed: str, option: str) -> None:
    """Type a part of a name and take a row of the list."""
    model = page.get_by_label(LABEL)
    model.click()
    model.fill("")
    model.press_sequentially(typed)
    page.get_by_role("option", name=option).click()


def opened(open_page: Open, studio: Studio, **how: object) -> Page:
    page = open_page(f"{studio.url}/new", **how)
    expect(page.get_by_text("The starter model. Already on this machine.")).to_be_visible()
    return page


def test_a_model_is_found_as_its_name_is_typed_and_the_hub_is_left_alone_until_then(
    server: Hub, studio: Studio, open_page: Open
) -> None:
    server.requests.clear()
    page = opened(open_page, studio)
    assert server.requests == []
    choose(page, "tiny-b", "acme/tiny-base")
    expect(page.get_by_text("A base model: it has no chat template.")).to_be_visible()
    expect(page.get_by_text("MIT", exact=True)).to_be_visible()
    expect(page.get_by_label("Your token for the Hub")).not_to_be_visible()


def test_a_gated_model_asks_for_a_token_fetches_with_it_and_is_here(
    server: Hub, studio: Studio, open_page: Open
) -> None:
    page = opened(open_page, studio, width=390, dark=True)
    choose(page, "gated", "acme/tiny-gated")
    link = page.get_by_role("link", name="Its page on the Hub")
    expect(link).to_have_attribute("href", "https://huggingface.co/acme/tiny-gated")
    assert fits(page, 390)
    token = page.get_by_label("Your token for the Hub")
    token.fill(TOKEN)
    page.get_by_role("button", name="Fetch it with this token").click()
    expect(page.get_by_text("Gated, opened with your token")).to_be_visible()
    expect(token).not_to_be_visible()
    assert TOKEN not in page.content()


def test_a_name_that_is_nearly_right_gets_the_right_one(studio: Studio, open_page: Open) -> None:
    page = opened(open_page, studio)
    model = page.get_by_label(LABEL)
    model.fill("acme/tiny-chatt")
    model.press("Enter")
    expect(page.get_by_text("No model called 'acme/tiny-chatt' on the Hub.")).to_be_visible()
    expect(page.get_by_text("Did you mean acme/tiny-chat")).to_be_visible()
