"""The studio's web app in this process, on a tiny starter model with two adapters and a real engine."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from openai import OpenAI

from studio.api.routes import api_router
from studio.app import build_app
from studio.core.catalog import STARTER_REPO
from studio.core.engine_client import EngineClient
from studio.core.engine_socket import socket_path
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.runs import Event, NewRun, Run
from studio.core.stores.users import LOCAL_USER
from studio.pages import PAGES
from studio.shell.listen import bind
from tests.integration.records import add_dataset
from tests.integration.tiny import make_tiny_adapter, make_tiny_model
from tests.waiting import wait_until
from worker.keeper import EngineKeeper

REVISION = "tiny"
PROMPTS = [{"asked": "Two 'apples' for \"Anna\" & $HOME,\nplease.", "reference": "{}", "system": "You write JSON."}]


@dataclass(frozen=True)
class ApiStudio:
    """A studio that answers; `runs` have adapters."""

    url: str
    services: Services
    runs: tuple[Run, ...]

    @property
    def engine(self) -> EngineClient:
        return EngineClient(socket_path(self.services.settings))

    def client(self, key: str = "anything") -> OpenAI:
        """The unchanged client. Answers may have to wait for the engine's start."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def requests(self) -> int:
        """How many answers the engine is at."""
        return int((self.engine.health() or {}).get("requests", 0))


def fill(data_dir: Path) -> tuple[Services, tuple[Run, ...]]:
    """A data dir with a starter model that never ends its turn by itself, and two runs that have ended."""
    starter = make_tiny_model(data_dir / "models" / "starter")
    for name, change in (
        ("config.json", {"max_position_embeddings": 60_000, "eos_token_id": 0}),
        ("generation_config.json", {"eos_token_id": 0}),
        ("tokenizer_config.json", {"model_max_length": 60_000}),
    ):
        told = json.loads((starter / name).read_text())
        (starter / name).write_text(json.dumps(told | change))
    template = starter / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<|im_end|>'", "'<|endoftext|>'"))
    facts = {"source": "wheel", "revision": REVISION, "sha256": "0" * 64}
    (starter / "source.json").write_text(json.dumps(facts))
    services = open_services(Settings(data_dir=data_dir, threads=1, port=0))
    version = add_dataset(services)
    return services, tuple(add_tuned(services, name, version.id, seed) for seed, name in enumerate(("First!", "两"), 1))


def add_tuned(services: Services, name: str, version_id: str, seed: int) -> Run:
    """A run that has ended well, with an adapter."""
    run = services.runs.add(NewRun(LOCAL_USER, name, {}, STARTER_REPO, REVISION, version_id))
    make_tiny_adapter(services.settings.models_dir / "starter", services.artifacts.adapter_dir(run.id), seed)
    for state in ("starting", "running", "finalizing", "succeeded"):
        more = {"result": {"steps": 12, "prompts": PROMPTS}} if state == "succeeded" else {}
        now = services.runs.get(run.id, LOCAL_USER)
        assert services.runs.move(now, state, Event(time.time(), state, state, ""), **more)  # type: ignore[arg-type]
    return services.runs.get(run.id, LOCAL_USER)


def see_worker(services: Services) -> None:
    """A worker that counts as seen for an hour."""
    services.machines.report("here", "w", {})
    with services.db.write() as connection:
        connection.exec_driver_sql("UPDATE machines SET seen_at = ?", (time.time() + 3600,))


@contextmanager
def serving(services: Services) -> Iterator[str]:
    """The web app on a free port of loopback, whatever the settings say of the host; gives its address."""
    with ThreadPoolExecutor(1) as pool:  # browser tests of the same process leave a loop running in this thread
        app = pool.submit(build_app, services.settings, services, PAGES, api=api_router(services)).result()
    listener = bind(Settings(data_dir=services.settings.data_dir, port=0))
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started, 30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@contextmanager
def answering(data_dir: Path) -> Iterator[ApiStudio]:
    """The whole: web app, keeper, engine once it is asked."""
    services, runs = fill(data_dir)
    see_worker(services)
    keeper = EngineKeeper(services.settings, services.machines, "here")
    keeper.start()
    try:
        with serving(services) as url:
            yield ApiStudio(url, services, runs)
    finally:
        keeper.stop()
        services.db.close()
        services.bell.huey.storage.close()


def get(url: str, **headers: str) -> httpx.Response:
    """A GET without the environment's proxies."""
    return httpx.get(url, headers=headers, timeout=30, trust_env=False)
