"""The playground in Chromium: a real engine on a tiny model, both answers streamed, Stop really stops."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from studio.core.catalog import STARTER_REPO
from studio.core.checkpoints import seal
from studio.core.engine_client import EngineClient
from studio.core.engine_socket import socket_path
from studio.core.states import State
from studio.core.stores.runs import Event, NewRun, Run
from studio.core.stores.users import LOCAL_USER
from tests.browser.axe import faults
from tests.browser.conftest import ROOT, Studio
from tests.browser.tiny_studio import KEEPER_COMMAND, add_orders, fits, tiny_studio
from tests.integration.tiny import make_tiny_adapter
from tests.waiting import wait_until

Open = Callable[..., Page]
PROMPTS = [
    {"asked": "Please send <b>two</b> apples.", "reference": "{}", "system": "You write JSON."},
    {"asked": "One jar of honey for Anna.", "reference": "{}"},
]
FOCUSED = """() => {
  const one = document.activeElement, label = one.labels?.[0] ?? one;
  return (one.getAttribute("aria-label") ?? label.innerText).trim().split("\\n")[0];
}"""
MOVES: tuple[State, ...] = ("starting", "running", "finalizing", "succeeded")


@dataclass(frozen=True)
class Stage:
    """A studio with one tuned run, one that goes and has a checkpoint, one that waits; `engine` is where it answers."""

    studio: Studio
    run: Run
    going: Run
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
        names, ids = ("<i>tuned</i>", "going", "waits"), []
        for name in names:
            ids.append(services.runs.add(NewRun(LOCAL_USER, name, {}, STARTER_REPO, "main", version.id)).id)
        base = services.settings.models_dir / "starter"
        make_tiny_adapter(base, services.artifacts.adapter_dir(ids[0]))
        seal(make_tiny_adapter(base, services.artifacts.checkpoints_dir(ids[1]) / "checkpoint-40", 2), 40, 1, "spec")
        for run_id, states in ((ids[0], MOVES), (ids[1], MOVES[:2])):
            for state in states:
                more: Any = {"result": {"steps": 12, "prompts": PROMPTS}} if state == "succeeded" else {}
                run = services.runs.get(run_id, LOCAL_USER)
                assert services.runs.move(run, state, Event(time.time(), state, state, ""), **more)
        made = [services.runs.get(run_id, LOCAL_USER) for run_id in ids]
        command = [*KEEPER_COMMAND, str(services.settings.data_dir)]
        keeper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
        try:
            yield Stage(studio, made[0], made[1], made[2], EngineClient(socket_path(services.settings)))
        finally:
            keeper.communicate(timeout=30)


def choose(page: Page, drawer: str, **values: str) -> None:
    """Type into the fields of a drawer. What is typed while the drawer unfolds is overwritten by Gradio: no person is
    so fast."""
    page.get_by_role("button", name=drawer).click()
    for label, value in values.items():
        field = page.get_by_label(label.replace("_", " "))

        def stays(field: Locator = field, value: str = value) -> bool:
            field.fill(value)
            page.wait_for_timeout(400)
            return field.input_value() == value

        wait_until(stays, 15)


def is_idle(engine: EngineClient) -> bool:
    told = engine.health()
    return told is not None and not told["busy"]


def ask(page: Page, question: str, panes: int = 2) -> None:
    """Ask by the keyboard, and wait until all have answered and what stands around them is drawn."""
    page.get_by_role("textbox", name="Ask", exact=True).fill(question)
    page.get_by_role("textbox", name="Ask", exact=True).press("Shift+Enter")
    answered(page, question, panes)


def answered(page: Page, question: str, panes: int = 2) -> None:
    """Wait until all panes have answered."""
    expect(page.locator(".ts-asked", has_text=question)).to_have_count(panes)
    expect(page.get_by_text("s to the first word")).to_have_count(panes, timeout=60_000)
    expect(page.get_by_role("button", name="Edit", exact=True)).to_have_count(panes)


def tab_to(page: Page, name: str) -> None:
    """Go on with the Tab key until the focus is on what is called so."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"no Tab leads to {name}")


def press(page: Page, name: str) -> None:
    """Press what is called so by the keyboard."""
    tab_to(page, name)
    page.keyboard.press("Enter")


def said(page: Page) -> list[str]:
    return page.locator(".ts-chat .ts-told").all_inner_texts()


def last_written(stage: Stage) -> float:
    """When a chat last changed: what was said is written down when the answer has ended."""
    return max(one.updated_at for one in stage.studio.services.chats.of(LOCAL_USER))


def test_one_click_on_a_run_has_both_panes_answer_a_held_out_prompt(stage: Stage, open_page: Open) -> None:
    page = open_page(f"{stage.studio.url}/run?id={stage.run.id}")
    page.get_by_role("link", name="Try it").click()
    expect(page.get_by_role("heading", name="<i>tuned</i>")).to_be_visible()
    answered(page, "Please send <b>two</b> apples.")
    expect(page.locator(".ts-reference")).to_contain_text("{}")
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    first = said(page)
    assert first[0] != first[1]
    written = last_written(stage)
    page.get_by_role("button", name="Ask again").click()
    wait_until(lambda: last_written(stage) > written, 60)  # until then the page shows the answer of before
    wait_until(lambda: said(page) == first, 10)  # the same seed, the same answer
    page.reload()  # nobody is asked again: the chat is opened
    answered(page, "Please send <b>two</b> apples.")
    assert said(page) == first
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Nothing asked yet")).to_have_count(2)
    page.get_by_role("link", name="Please send <b>two</b> apples.").first.click()
    answered(page, "Please send <b>two</b> apples.")
    page.get_by_role("button", name="Delete this chat").click()
    page.get_by_role("button", name="Delete it for good").click()
    expect(page.locator(".ts-chats li")).to_have_count(0)


def test_votes_and_an_edited_answer_become_a_dataset(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.url)
    choose(page, "How they answer", Longest_answer="8")
    ask(page, "One pear.")
    page.get_by_role("button", name="Tuned", exact=True).click()
    expect(page.get_by_text("Kept: Tuned is better.")).to_be_visible()
    page.get_by_role("button", name="Edit", exact=True).nth(1).click()
    page.get_by_label("The answer as it should be").fill("<think>hm</think><u>pear</u>")
    page.get_by_role("button", name="Keep my version").click()
    expect(page.get_by_text("Edited by you")).to_be_visible()
    expect(page.locator(".ts-told").nth(1)).to_contain_text("<u>pear</u>")
    page.get_by_text("Thought first (1 word)").click()
    expect(page.get_by_text("1 vote and 1 edited answer.")).to_be_visible()
    page.get_by_role("button", name="Make the dataset").click()
    expect(page.get_by_text("Playground votes is a dataset now")).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="Look at it").click()
    expect(page.get_by_role("heading", name="Playground votes")).to_be_visible()


def test_a_question_is_edited_and_a_cut_answer_goes_on(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.url)
    choose(page, "How they answer", Longest_answer="8")
    ask(page, "Wrong question")
    page.get_by_role("button", name="Edit question").click()
    expect(page.get_by_role("textbox", name="Ask", exact=True)).to_have_value("Wrong question")
    ask(page, "Right question")
    expect(page.locator(".ts-asked", has_text="Wrong question")).to_have_count(0)
    before = page.locator(".ts-said").first.inner_text()
    page.get_by_role("button", name="Continue").first.click()
    wait_until(lambda: len(page.locator(".ts-said").first.inner_text()) > len(before), 20)
    assert page.locator(".ts-said").first.inner_text().startswith(before)


def test_a_checkpoint_of_a_run_that_goes_sits_in_a_third_pane(stage: Stage, open_page: Open) -> None:
    page = open_page(f"{stage.studio.url}/playground?run={stage.going.id}")
    expect(page.get_by_text("Step 40, still training")).to_be_visible()
    choose(page, "How they answer", Longest_answer="8")
    page.get_by_role("button", name="Who answers").click()
    page.get_by_text("Three", exact=True).click()
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    ask(page, "Three at once", 3)
    assert len(set(said(page))) == 3
    expect(page.get_by_role("button", name="All alike")).to_be_visible()


def in_mid_answer(stage: Stage, open_page: Open, question: str) -> Page:
    """The page while both answers, which are long, are being made."""
    page = open_page(stage.url)
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    choose(page, "How they answer", Longest_answer="4000")
    page.get_by_role("textbox", name="Ask", exact=True).fill(question)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("Answering…").first).to_be_visible(timeout=60_000)
    return page


def test_stop_really_stops(stage: Stage, open_page: Open) -> None:
    page = in_mid_answer(stage, open_page, "The capital of France is")
    expect(page.get_by_text("A run is training on this machine: it takes longer.")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    wait_until(lambda: is_idle(stage.engine), 10)
    expect(page.get_by_text("Answering…")).to_have_count(0)
    expect(page.locator(".ts-asked").first).to_contain_text("The capital of France is")


def test_wrong_settings_are_all_said_at_once_and_the_question_stays(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.url)
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    choose(page, "How they answer", Longest_answer="0", Beams="99")
    page.get_by_role("textbox", name="Ask", exact=True).fill("Kept")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("Longest answer can not be 0.")).to_be_visible()
    expect(page.get_by_text("Beams can not be 99.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Ask", exact=True)).to_have_value("Kept")


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
        page.get_by_role("textbox", name="Ask", exact=True).fill("Anybody there?")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("No worker is running, so nobody can answer.")).to_be_visible()
        expect(page.get_by_role("textbox", name="Ask", exact=True)).to_have_value("Anybody there?")
    finally:
        with server.services.db.write() as connection:
            connection.exec_driver_sql("UPDATE machines SET seen_at = ?", (seen,))


def test_the_keyboard_alone_suffices(stage: Stage, open_page: Open) -> None:
    page = open_page(f"{stage.studio.url}/run?id={stage.run.id}")
    expect(page.get_by_role("link", name="Try it")).to_be_visible()
    press(page, "Try it")
    answered(page, "Please send <b>two</b> apples.")
    press(page, "Clear")
    expect(page.get_by_text("Nothing asked yet")).to_have_count(2)
    tab_to(page, "Ask")
    page.keyboard.type("Right question")
    page.keyboard.press("Shift+Enter")
    answered(page, "Right question")
    press(page, "Both alike")
    expect(page.get_by_text("Kept: both alike.")).to_be_visible()
    press(page, "Ask again")
    press(page, "Stop")
    wait_until(lambda: is_idle(stage.engine), 10)
    expect(page.get_by_text("Answering…")).to_have_count(0)


def test_an_engine_that_dies_in_mid_answer_is_one_sentence_and_the_next_question_works(
    stage: Stage, open_page: Open
) -> None:
    page = in_mid_answer(stage, open_page, "Tell me all of it")
    row = stage.studio.services.machines.engine("seeded")
    assert row is not None and row.pid is not None
    os.kill(row.pid, signal.SIGKILL)
    expect(page.get_by_text("The playground's process does not answer.")).to_be_visible()
    expect(page.get_by_text("Answering…")).to_have_count(0)
    expect(page.locator(".ts-asked").first).to_contain_text("Tell me all of it")
    page.get_by_label("Longest answer").fill("8")
    ask(page, "Right question")


def test_answers_fit_a_phone_in_the_dark_and_axe_finds_nothing(stage: Stage, open_page: Open) -> None:
    page = open_page(stage.url, width=390, dark=True)
    expect(page.get_by_text("Tuned, 12 steps")).to_be_visible()
    ask(page, "Right question")
    assert fits(page, 390)
    assert faults(page) == []
