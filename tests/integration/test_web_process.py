"""The web process refuses to start open to strangers, stays light and ends quickly."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.app import build_app
from studio.core.errors import BootRefused
from studio.core.settings import Settings
from studio.shell.listen import bind, check_boot

ROOT = Path(__file__).parents[2]


def test_the_studio_does_not_start_open_to_strangers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BootRefused, match="TUNESMITH_TRUSTED_NETWORK"):
        check_boot(Settings(data_dir=settings.data_dir, host="0.0.0.0"))
    check_boot(Settings(data_dir=settings.data_dir, host="0.0.0.0", trusted_network=True))
    for name in ("GRADIO_SHARE", "GRADIO_VIBE_MODE"):
        with monkeypatch.context() as patch, pytest.raises(BootRefused, match=name):
            patch.setenv(name, "1")
            build_app(settings, None)


def test_a_taken_port_is_refused_with_a_sentence(settings: Settings) -> None:
    with bind(settings.model_copy(update={"port": 0})) as first:
        port = first.getsockname()[1]
        with pytest.raises(BootRefused, match=f"Port {port}"):
            bind(settings.model_copy(update={"port": port}))


SERVE = """
import json, sys
from studio.app import serve
from studio.core.settings import Settings
def ready(address):
    heavy = [name for name in ("torch", "transformers", "datasets", "trl") if name in sys.modules]
    print(json.dumps({"address": address, "heavy": heavy}), flush=True)
serve(Settings(), None, announce=ready)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    env = {**os.environ, "TUNESMITH_DATA_DIR": str(tmp_path), "TUNESMITH_PORT": "0", "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=pipe, stderr=pipe, text=True, env=env) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield process, json.loads(line)
        finally:
            process.kill()


def connect(told: dict[str, Any]) -> http.client.HTTPConnection:
    """A connection to the served address."""
    host, port = told["address"].removeprefix("http://").split(":")
    return http.client.HTTPConnection(host, int(port), timeout=10)


def test_the_web_process_stays_light_and_ends_quickly_with_a_stream_open(
    served: tuple[subprocess.Popen[str], dict[str, Any]],
) -> None:
    process, told = served
    with closing(connect(told)) as page:
        page.request("GET", "/")
        answer = page.getresponse()
        assert answer.status == 200 and answer.getheader("server") is None and b"gradio_config" in answer.read()
    assert told["heavy"] == []
    assert psutil.Process(process.pid).memory_info().rss < 400_000_000
    with closing(connect(told)) as stale:  # a tab that was open before the server was restarted
        stale.request("GET", "/gradio_api/queue/data?session_hash=abc")
        assert b"session_not_found" in stale.getresponse().read()
    with closing(connect(told)) as stream:
        stream.request("GET", "/gradio_api/heartbeat/abc")
        with stream.getresponse() as started:
            assert (started.getheader("content-type") or "").startswith("text/event-stream")
            assert "default-src 'self'" in (started.getheader("content-security-policy") or "")
            before = time.monotonic()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=15)
    assert time.monotonic() - before < 6
    assert "Traceback" not in errors
