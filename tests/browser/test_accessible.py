"""Each page, as axe-core sees it: nothing that keeps anybody from using it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import faults
from tests.browser.conftest import Studio
from tests.browser.shots import pages

LIGHT = ("home", "runs", "datasets", "dataset", "new", "playground-run", "keys", "run-running", "run-queued",
         "run-succeeded", "run-failed")  # fmt: skip
DARK = ("runs", "dataset", "new", "run-succeeded", "run-failed")
SETTLE_MS = 1200


@pytest.mark.parametrize(("name", "dark"), [*((name, False) for name in LIGHT), *((name, True) for name in DARK)])
def test_axe_finds_nothing(name: str, dark: bool, server: Studio, open_page: Callable[..., Page]) -> None:
    page = open_page(server.url + pages(server)[name], dark=dark)
    expect(page.get_by_role("heading", level=1)).to_be_visible()  # Gradio has begun to draw
    page.wait_for_timeout(SETTLE_MS)  # and all has faded in, or axe would see it pale
    assert faults(page) == []
