"""Web process, worker and trainer killed together: the page tells the truth, and the run goes on by itself."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from studio.core.locks import is_held
from studio.core.services import open_services
from studio.core.settings import Settings
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.steer import stop_run
from studio.core.use_cases.submit import Order, submit
from tests.browser.conftest import wait_until_ready
from tests.browser.test_main_job import up, web_of
from tests.browser.tiny_studio import add_orders
from tests.integration.tiny import make_tiny_model
from tests.waiting import free_port, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TRUTH_SECONDS = 10
TRAINING = {"num_train_epochs": 1000, "eval_share": 0, "max_length": 64, "checkpoint_seconds": 1}


def kill_all(process: "subprocess.Popen[bytes]", trainer: int) -> psutil.Process:
    """SIGKILL to web process, worker and trainer at once; gives the old web process."""
    web = web_of(process)
    assert web is not None
    worker = next(child for child in psutil.Process(process.pid).children() if child.pid != web.pid)
    for pid in (web.pid, worker.pid, trainer):
        os.kill(pid, signal.SIGKILL)
    return web


def test_after_all_three_are_killed_the_page_tells_the_truth_and_the_run_goes_on(
    tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    data, port = tmp_path / "data", free_port()
    services = open_services(Settings(data_dir=data))
    version, model = add_orders(services, tmp_path), make_tiny_model(tmp_path / "model")
    config = {"base": {"repo": str(model), "dtype": "float32"}, "training": TRAINING}
    run = submit(services, LOCAL_USER, Order("tough", version.id, config))

    def now() -> Run:
        return services.runs.get(run.id, LOCAL_USER)

    def is_true() -> bool:
        """Live with a held lock, or waiting; never "running" over a dead trainer."""
        return not now().is_live or is_held(services.artifacts.run_lock(run.id))

    with up(data, port) as process:
        wait_until(lambda: now().checkpoint_step > 0, 90)
        before = now()
        old = kill_all(process, before.pid or 0)
        wait_until(lambda: web_of(process) not in (None, old), 20)
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        back = time.monotonic()
        page = open_page(f"http://127.0.0.1:{port}/run?id={run.id}")
        wait_until(is_true, TRUTH_SECONDS - (time.monotonic() - back))
        wait_until(lambda: now().claim == 2 and now().step > before.checkpoint_step, 90)
        expect(page.get_by_text("Running").first).to_be_visible()
        expect(page.get_by_text("Goes on from step").first).to_be_visible()
        assert now().resume_step >= before.checkpoint_step
        steps = [step for step, _ in services.metrics.series(run.id, ("loss",), 100_000)["loss"]]
        assert steps == list(range(1, len(steps) + 1))
        stop_run(services, LOCAL_USER, run.id)
        wait_until(lambda: now().state == "stopped", 20)
        expect(page.get_by_text("Stopped").first).to_be_visible()
        page.context.close()
    services.db.close()
    services.bell.huey.storage.close()
