"""From a finished run to a program that asks it: the card with the code, and the place where keys are made."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.named_models import tuned_name
from tests.browser.conftest import Studio
from tests.browser.tiny_studio import fits

Open = Callable[..., Page]


def test_a_finished_run_shows_code_that_is_copied_as_it_stands(server: Studio, open_page: Open) -> None:
    run = server.runs["orders-json"]
    page = open_page(f"{server.url}/run?id={run.id}", width=390, dark=True)
    code = page.locator(".ts-code pre")
    expect(code).to_contain_text(f"curl {server.url}/v1/chat/completions")
    expect(code).to_contain_text(tuned_name(run))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for language, words in (("Python", f'base_url="{server.url}/v1"'), ("JavaScript", f'baseURL: "{server.url}/v1"')):
        page.locator(".ts-seg").get_by_text(language, exact=True).click()
        expect(code).to_contain_text(words)
        page.get_by_role("button", name=f"Copy the {language} example").click()
        expect(page.locator(".ts-code .ts-copy")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == code.inner_text()
    assert fits(page, 390)
    page.get_by_role("link", name="API keys").click()
    expect(page.get_by_text("No key is needed")).to_be_visible()


def test_a_key_is_made_shown_once_and_revoked(server: Studio, open_page: Open) -> None:
    page = open_page(f"{server.url}/keys")
    page.get_by_label("Name").fill("<b>my</b> script")
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator(".ts-code pre").inner_text()
    (key,) = server.services.keys.of(LOCAL_USER)
    assert secret.startswith("tsk-") and secret.endswith(key.hint)
    expect(page.get_by_text("<b>my</b> script")).to_be_visible()
    page.reload()
    expect(page.get_by_text("not used yet")).to_be_visible()
    assert secret not in page.content()
    page.get_by_role("button", name="Revoke", exact=True).click()
    page.get_by_role("button", name="Revoke it for good").click()
    expect(page.get_by_text("No key was made yet.")).to_be_visible()
    assert server.services.keys.of(LOCAL_USER) == []
