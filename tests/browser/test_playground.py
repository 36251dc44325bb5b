"""The playground in Chromium: a real engine on a tiny model, both answers streamed, Stop really stops."""

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.core.catalog import STARTER_REPO
from studio.core.engine_client import EngineClient
from studio.core.engine_socket import socket_path
from studio.core.stores.runs import Event, NewRun, Run
from studio.core.stores.users import LOCAL_USER
from tests.browser.conftest import ROOT, Studio
from tests.browser.tiny_studio import KEEPER_COMMAND, add_orders, fits, tiny_studio
from tests.integration.tiny import make_tiny_adapter
from tests.waiting import wait_until

Open = Callable[..., Page]
PROMPTS = [
    {"asked": "Please send <b>two</b> apples.", "reference": "{}", "system": "You write JSON."},
    {"asked": "One jar of honey for Anna.", "reference": "{}"},
]


@dataclass(frozen=True)
class Stage:
    """A studio with one tuned run and one that waits; `engine` is where it will answer."""

    studio: Studio
    run: Run
    waiting: Run
    engine: EngineClient

    @property
    def url(self) -> str:
        return f"{self.studio.url}/playground?run={self.run.id}"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A web process and a keeper of the engine, with a tiny starter model."""
    folder = tmp_path_factory.mktemp("play")
    with tiny_studio(folder / "data") as studio:
        services = studio.services
        version = add_orders(services, folder)
        made = [
            services.runs.add(NewRun(LOCAL_USER, name, {}, STARTER_REPO, "main", version.id))
            for name in ("<i>tuned</i>", "waits")
        ]
        make_tiny_adapter(services.settings.models_dir / "starter", services.artifacts.adapter_dir(made[0].id))
        for state in ("starting", "running", "finalizing", "succeeded"):
            run = services.runs.get(made[0].id, LOCAL_USER)
            more = {"result": {"steps": 12, "prompts": PROMPTS}} if state == "succeeded" else {}
            assert services.runs.move(run, state, Event(time.time(), state, state, ""), **more)
        command = [*KEEPER_COMMAND, str(services.settings.data_dir)]
        keeper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
        try:
            yield Stage(studio, run, made[1], EngineClient(socket_path(services.settings)))
        finally:
            keeper.communicate(timeout=30)


def choose(page: Page, label: str, value: str) -> None:
    """Type into a field of the drawer. What is typed while the drawer unfolds is overwritten by Gradio: no person is
    so fast."""

    def stays() -> bool:
        page.get_by_label(label).fill(value)
        page.wait_for_timeout(400)
        return page.get_by_label(label).input_value() == value

    page.get_by_text("How they answer").click()
    wait_until(stays, 15)


def is_idle(engine: EngineClient) -> bool:
    told = engine.health()
    return told is not None and not told["busy"]


def test_both_answer_a_held_out_prompt_and_the_text_is_shown_as_it_is(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.url)
    expect(page.get_by_role("heading", name="<i>tuned</i>")).to_be_visible()
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    page.get_by_role("button", name="Please send <b>two</b> apples.").click()
    expect(page.get_by_label("Ask both")).to_have_value("Please send <b>two</b> apples.")
    choose(page, "Longest answer", "12")
    expect(page.get_by_label("System prompt")).to_have_value("You write JSON.")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("s to the first word").nth(1)).to_be_visible(timeout=60_000)
    for pane in page.locator(".ts-chat").all():
        expect(pane.locator(".user")).to_have_text("Please send <b>two</b> apples.")
        expect(pane.locator(".bot")).not_to_be_empty()
    first = page.locator(".ts-chat .bot").all_inner_texts()
    assert first[0] != first[1]
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_text("s to the first word").nth(1)).to_be_visible()
    wait_until(lambda: page.locator(".ts-chat .bot").all_inner_texts() == first, 10)  # the same seed, the same answer
    page.get_by_role("button", name="Please send <b>two</b> apples.").click()  # a held-out prompt begins a fresh chat
    expect(page.locator(".ts-chat .user")).to_have_count(0)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("s to the first word").nth(1)).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Nothing asked yet").nth(1)).to_be_visible()
    expect(page.locator(".ts-chat .user")).to_have_count(0)


def test_stop_really_stops(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.url)
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    choose(page, "Longest answer", "4000")
    page.get_by_label("Ask both").fill("The capital of France is")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("Answering…").first).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    wait_until(lambda: is_idle(stage.engine), 10)
    expect(page.get_by_text("Answering…")).to_have_count(0)
    expect(page.locator(".ts-chat .user").first).to_have_text("The capital of France is")


def test_a_wrong_setting_is_a_note_and_the_question_stays(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.url)
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    choose(page, "Temperature", "9")
    page.get_by_label("Ask both").fill("Kept")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("Temperature can not be 9.")).to_be_visible()
    expect(page.get_by_label("Ask both")).to_have_value("Kept")


def test_without_an_adapter_the_page_says_what_to_do_next(stage: Stage, empty_server: Studio, open_page: Open) -> None:
    page = open_page(f"{stage.studio.url}/playground?run={stage.waiting.id}")
    expect(page.get_by_text("waits has no adapter yet")).to_be_visible()
    expect(page.get_by_role("link", name="Open the run")).to_have_attribute("href", f"/run?id={stage.waiting.id}")
    page.goto(f"{stage.studio.url}/playground?run=nonesuch")
    expect(page.get_by_text("There is no such run.")).to_be_visible()
    page = open_page(f"{empty_server.url}/playground")
    expect(page.get_by_text("Nobody to talk to yet")).to_be_visible()


def test_without_a_worker_the_page_says_so(server: Studio, open_page: Open) -> None:
    with server.services.db.write() as connection:
        seen = connection.exec_driver_sql("SELECT seen_at FROM machines").scalar_one()
        connection.exec_driver_sql("UPDATE machines SET seen_at = 0")
    try:
        page = open_page(f"{server.url}/playground?run={server.runs['orders-json'].id}")
        page.get_by_label("Ask both").fill("Anybody there?")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("No worker is running, so nobody can answer.")).to_be_visible()
        expect(page.get_by_label("Ask both")).to_have_value("Anybody there?")
    finally:
        with server.services.db.write() as connection:
            connection.exec_driver_sql("UPDATE machines SET seen_at = ?", (seen,))


def test_the_playground_fits_a_phone_in_the_dark(stage: Stage, open_page: Open, tmp_path: Path) -> None:
    page = open_page(stage.url, width=390, dark=True)
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    assert fits(page, 390)
