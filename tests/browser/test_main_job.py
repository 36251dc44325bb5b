"""The main job by clicks, in real Chromium, on the starter model and the starter dataset, with the real worker."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Page, expect

from studio.core.assets import asset
from studio.core.catalog import DEMO_FILE
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.states import ENDED
from studio.core.stores.users import LOCAL_USER
from tests.browser.conftest import ROOT, wait_until_ready
from tests.browser.tiny_studio import accept, drop
from tests.waiting import free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
MINUTE_MS = 60_000
Open = Callable[..., Page]


@contextmanager
def up(data_dir: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """`tunesmith up` until the block ends; then nothing of it is left."""
    ours = {"TUNESMITH_DATA_DIR": str(data_dir), "TUNESMITH_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "studio", "up"]
    process = subprocess.Popen(command, env={**os.environ, **ours}, cwd=ROOT)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0
        _, alive = psutil.wait_procs(family, timeout=2)
        assert not alive, alive


def web_of(process: "subprocess.Popen[bytes]") -> psutil.Process | None:
    """The web process among the children of `up`; None while there is none."""
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):  # one that was killed a moment ago
            if "web" in child.cmdline():
                return child
    return None


def start(page: Page) -> str:
    """File, mapping, one shorter setting, Start: the id of the run whose page opens."""
    expect(page.get_by_text("million parameters")).to_be_visible(timeout=MINUTE_MS)
    drop(page, asset("examples") / DEMO_FILE)
    accept(page)
    expect(page.get_by_text(re.compile("examples are (few|some)"))).to_be_visible(timeout=MINUTE_MS)
    page.get_by_text("Every setting").click()
    page.get_by_label("Epochs").fill("0.6")
    page.get_by_label("Learning rate").fill("0.001")
    button = page.get_by_role("button", name="Start", exact=True)
    expect(button).to_be_enabled(timeout=MINUTE_MS)
    button.click()
    page.wait_for_url("**/run?id=*", timeout=MINUTE_MS)
    return page.url.rpartition("=")[2]


def ended(services: Services, run_id: str) -> bool:
    """Whether the run has ended."""
    return services.runs.get(run_id, LOCAL_USER).state in ENDED


def step_shown(page: Page) -> int:
    """The step that the page of the run shows now."""
    words = page.locator("dt", has_text="Step").first.locator("xpath=following-sibling::dd").inner_text()
    return int(words.split()[0].replace(",", ""))


def test_a_person_without_code_trains_the_starter_model_and_chats_with_both(starter_dir: Path, open_page: Open) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with up(starter_dir, port) as process:
        services = open_services(Settings(data_dir=starter_dir))
        page = open_page(f"{url}/new")
        run_id = start(page)
        expect(page.get_by_text("Running").first).to_be_visible(timeout=2 * MINUTE_MS)
        expect(page.locator(".ts-chart").first).to_be_visible(timeout=2 * MINUTE_MS)
        before = step_shown(page)
        page.context.close()  # the laptop closes, and the web process dies and is started again
        old = web_of(process)
        assert old is not None
        old.kill()
        wait_until(lambda: web_of(process) not in (None, old), 20)
        wait_until_ready(url, process)
        page = open_page(f"{url}/run?id={run_id}")
        expect(page.locator(".ts-chart").first).to_be_visible(timeout=MINUTE_MS)
        wait_until(lambda: step_shown(page) >= before, 20)
        wait_until(lambda: ended(services, run_id), 600, every=1)
        run = services.runs.get(run_id, LOCAL_USER)
        assert (run.state, run.claim) == ("succeeded", 1), run.problem
        series = services.metrics.series(run_id, ("loss",))["loss"]
        assert [step for step, _ in series] == list(range(1, run.steps + 1))
        assert run.result and run.result["tuned"]["loss"] < run.result["base"]["loss"] / 3
        chat(page, run.result["prompts"][0]["asked"])
        page.context.close()  # before the studio: a page that asks nobody would complain
        services.db.close()
        services.bell.huey.storage.close()
        assert httpx.get(f"{url}/download/adapter/{run_id}", trust_env=False).content[:2] == b"PK"


def chat(page: Page, asked: str) -> None:
    """From the finished run to both answers of a held-out prompt, in one click."""
    page.get_by_role("link", name="Try it").or_(page.get_by_role("button", name="Try it")).first.click()
    page.wait_for_url("**/playground?run=*")
    speeds = page.locator(".ts-speed", has_text="tokens/s")
    expect(speeds).to_have_count(2, timeout=3 * MINUTE_MS)
    expect(page.locator(".ts-asked", has_text=asked)).to_have_count(2)
    answers = [text.strip() for text in page.locator(".ts-chat .ts-said").all_inner_texts()]
    assert len(answers) == 2 and all(answers) and answers[0] != answers[1]
    assert answers[1].startswith('{"items"'), answers
