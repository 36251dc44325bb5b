"""Real Chromium on the real web process: a seeded studio, an empty one, a page that notes what goes wrong."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.runs import Run
from tests.browser.seed import seed

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60
PATIENCE_MS = 15_000
# What Gradio says of its own requests that were under way when a page was left; a studio that is really gone fails
# the test by what it does not show.
LEAVING = (
    "AbortError: signal is aborted without reason",
    "Connection errored out.",
    "Unexpected error 404: Not Found",
)
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Studio:
    """A running web process: its address, the stores over its data dir, and the seeded runs by name."""

    url: str
    services: Services
    runs: dict[str, Run]


@contextmanager
def running(data_dir: Path, seeded: bool, **more: str) -> Iterator[Studio]:
    """`tunesmith web` on a free port until the block ends, with `more` in its environment. No worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    services = open_services(Settings(data_dir=data_dir))
    runs = seed(services) if seeded else {}
    ours = {"TUNESMITH_DATA_DIR": str(data_dir), "TUNESMITH_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **ours, "HF_HOME": str(data_dir / "hf"), **more}
    process = subprocess.Popen([sys.executable, "-m", "studio", "web"], env=environment, cwd=ROOT)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield Studio(f"http://127.0.0.1:{port}", services, runs)
    finally:
        process.terminate()
        process.wait(20)
        services.db.close()
        services.bell.huey.storage.close()


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Until `/healthz` answers; fails when the process ends before."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the web process ended"
        try:
            if httpx.get(f"{url}/healthz", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError("the web process does not answer")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with runs in every state. Shared by all tests: what a test changes, it makes itself."""
    with running(tmp_path_factory.mktemp("studio") / "data", seeded=True) as studio:
        yield studio


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[Studio]:
    """A studio that nobody has used yet."""
    with running(tmp_path / "empty", seeded=False) as studio:
        yield studio


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, the system's or Playwright's own."""
    with sync_playwright() as playwright:
        started = chromium(playwright)
        yield started
        started.close()


def chromium(playwright: Playwright) -> Browser:
    """The system's Chromium, or Playwright's own where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(url, width=1280, dark=False)`; the test fails where a page logs an error or asks another host."""
    wrong: list[str] = []
    contexts = []

    def complain(words: str) -> None:
        if not any(known in words for known in LEAVING):
            wrong.append(words)

    def open_one(url: str, width: int = 1280, dark: bool = False) -> Page:
        scheme = "dark" if dark else "light"
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        host = httpx.URL(url).netloc.decode()
        page.on("console", lambda m: complain(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("request", lambda r: None if is_ours(r.url, host) else wrong.append(r.url))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert wrong == [], wrong


def is_ours(url: str, host: str) -> bool:
    """Whether a request stays on the studio's own host (or leaves the page not at all)."""
    return url.startswith(("data:", "blob:")) or httpx.URL(url).netloc.decode() == host
