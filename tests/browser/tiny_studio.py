"""A studio whose starter model is a tiny one: everything works as with the real one, in a second."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.upload import import_file
from tests.browser.conftest import Studio, running
from tests.browser.seed import see_machine
from tests.integration.tiny import make_tiny_model

MAPPING = {"prompt": "spoken", "completion": "order_json", "system": ""}


@contextmanager
def tiny_studio(data_dir: Path, **more: str) -> Iterator[Studio]:
    """The web process with a tiny starter model, a worker that counts as seen, and `more` in its environment."""
    starter = make_tiny_model(data_dir / "models" / "starter")
    config = starter / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 8192}))
    facts = {"source": "wheel", "revision": "tiny", "sha256": "0" * 64}
    (starter / "source.json").write_text(json.dumps(facts))
    with running(data_dir, seeded=False, **more) as studio:
        see_machine(studio.services)
        yield studio


def write_orders(folder: Path, rows: int = 40, name: str = "orders.csv") -> Path:
    """A CSV with a column to ask, one to learn, and one for nothing; each tenth row has no answer."""
    lines = ["spoken,order_json,till_no"]
    for i in range(rows):
        answer = "" if i % 10 == 9 else f'"{{""item"": ""apples"", ""count"": {i}}}"'
        lines.append(f"Please send {i} apples <b>to</b> Anna.,{answer},{i}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def bring(services: Services, path: Path, mapping: dict[str, str]) -> DatasetVersion:
    """A file as a dataset."""
    return import_file(services, LOCAL_USER, path, path.name, mapping)


def add_orders(services: Services, folder: Path) -> DatasetVersion:
    """The orders as a dataset."""
    return bring(services, write_orders(folder), MAPPING)


def drop(page: Page, path: Path, drawer: str = "") -> None:
    """Drop a file at the page's place for one, or at the one in the drawer of that name."""
    places = page.locator(".ts-drawer", has_text=drawer) if drawer else page
    place = places.locator(".ts-drop input[type=file]").first
    place.set_input_files(path)


def accept(page: Page) -> None:
    """Go on with the dropped file: it needs no answer, or its bad rows are left out."""
    without = page.get_by_role("button", name="Use it without")
    made = page.get_by_text("is a dataset now")
    expect(without.or_(made)).to_be_visible()
    if without.is_visible():
        without.click()
    expect(made).to_be_visible()


def fits(page: Page, width: int) -> bool:
    """Whether nothing sticks out to the right."""
    return int(page.evaluate("document.documentElement.scrollWidth")) <= width


KEEPER = """
import sys, threading
from pathlib import Path
from studio.core.services import open_services
from studio.core.settings import Settings
from worker.keeper import EngineKeeper
settings = Settings(data_dir=Path(sys.argv[1]), threads=1)
keeper = EngineKeeper(settings, open_services(settings).machines, "seeded")
keeper.start()
sys.stdin.read()
keeper.stop()
"""
KEEPER_COMMAND = [sys.executable, "-W", "ignore", "-c", KEEPER]
