"""Pictures of every page and state, to lay beside the look: `python -m tests.browser.shots FOLDER`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import Studio, chromium, running

WIDTHS = {1280: 900, 390: 844}
SETTLE_MS = 2500  # the first tick has come, and what it brings is drawn


def pages(studio: Studio) -> dict[str, str]:
    """Names of pictures and addresses."""
    found = {name: f"/{name}" for name in ("runs", "datasets", "new", "playground", "run", "keys")}
    found["home"] = "/"
    found |= {f"run-{run.state}": f"/run?id={run.id}" for run in studio.runs.values()}
    dataset = next(iter(studio.runs.values())).dataset_id
    ended = next(run for run in studio.runs.values() if run.state == "succeeded")
    return found | {"dataset": f"/datasets?id={dataset}", "playground-run": f"/playground?run={ended.id}"}


def shoot(browser: Browser, url: str, target: Path, width: int, dark: bool) -> None:
    """One picture of the whole page."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=target / f"{url.rpartition('#')[2]}-{width}-{scheme}.png", full_page=True)
    context.close()


def main(target: Path) -> None:
    """All pages of a seeded studio, and the first page of an empty one."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = chromium(playwright)
        for seeded in (True, False):
            with running(Path(folder) / str(seeded), seeded=seeded) as studio:
                for name, path in (pages(studio) if seeded else {"welcome": "/"}).items():
                    for width in WIDTHS:
                        for dark in (False, True):
                            shoot(browser, f"{studio.url}{path}#{name}", target, width, dark)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
