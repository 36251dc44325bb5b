import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from studio.core import hub_datasets, reader
from studio.core.errors import Refused, StudioError
from studio.core.services import Services
from studio.core.use_cases import hub_data
from studio.core.use_cases.hub_data import Choice
from tests.integration.hub_orders import SETS, TOKEN, hub_of_orders, left, lines, orders
from tests.integration.hub_server import Hub


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of_orders(monkeypatch) as running:
        yield running


def test_a_persons_token_is_kept_nowhere(server: Hub, services: Services, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.datasets["acme/gated"].files["data/train-1.jsonl"] = lines(20_000)
    server.pause = 0.03
    seen: list[str] = []

    def spy(_share: float, _words: str) -> None:
        for child in psutil.Process().children():
            seen.append(repr((child.cmdline(), child.environ())))
        on_disk = [path.read_bytes() for path in services.settings.data_dir.rglob("*") if path.is_file()]
        assert not any(TOKEN.encode() in data for data in on_disk)

    upload_id = hub_data.bring(services, "me", Choice("acme/gated"), TOKEN, spy)
    assert any("studio.fetching" in words for words in seen)
    assert TOKEN not in "".join(seen) + caplog.text + repr(os.environ)
    assert set(server.tokens) == {f"Bearer {TOKEN}"}
    server.pause, server.fail = 0, [500] * 9
    with pytest.raises(StudioError) as failed:
        hub_data.look(services, "me", "acme/gated", TOKEN)
    assert TOKEN not in repr(failed.value) + str(failed.value.__cause__)
    assert left(services) == [upload_id]


def test_a_token_opens_what_it_may_read(server: Hub, services: Services) -> None:
    assert hub_data.look(services, "me", "acme/gated", f" {TOKEN}\n").gated
    assert hub_data.look(services, "me", "acme/secret", TOKEN).private
    with pytest.raises(Refused, match="asks for an agreement first"):
        hub_data.look(services, "me", "acme/gated", "hf_of_another")
    with pytest.raises(Refused, match="No dataset called"):
        hub_data.look(services, "me", "acme/secret", "hf_of_another")
    with pytest.raises(Refused, match="does not let this token read") as wrong:
        hub_data.look(services, "me", SETS, "hf_wrong")
    assert wrong.value.field == "token"


@pytest.mark.parametrize("token", ["hf_a\r\nHost: x", "hf ä", "x" * 301, "a b"])
def test_what_is_no_token_is_refused_and_not_repeated(server: Hub, services: Services, token: str) -> None:
    with pytest.raises(Refused) as refused:
        hub_data.look(services, "me", SETS, token)
    assert refused.value.field == "token" and token not in str(refused.value)
    assert server.requests == []


def test_the_operators_token_serves_only_where_nobody_else_can_reach_the_studio(
    server: Hub, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub_data.look(services, "me", "acme/gated").gated
    monkeypatch.setitem(services.settings.__dict__, "is_loopback", False)
    server.tokens.clear()
    with pytest.raises(Refused, match="asks for an agreement first"):
        hub_data.look(services, "me", "acme/gated")
    assert server.tokens == []


def test_no_redirect_leads_into_the_network(server: Hub, services: Services, tmp_path: Path) -> None:
    found = hub_data.look(services, "me", SETS)
    files = {"a": found.files("extra", "train")[0]}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        for address in (f"http://127.0.0.1:{port}/x", f"https://127.0.0.1:{port}/x", f"https://localhost:{port}/x",
                        "file:///etc/passwd"):  # fmt: skip
            server.redirect["extra/a.csv"] = address
            with pytest.raises(StudioError):
                hub_datasets.fetch(services.settings, found, files, tmp_path)
        with pytest.raises(BlockingIOError):
            listener.accept()
    server.redirect["extra/a.csv"] = f"/datasets/{SETS}/resolve/main/extra/b.csv"
    server.datasets[SETS].files["extra/b.csv"] = orders()["extra/a.csv"]
    hub_datasets.fetch(services.settings, hub_data.look(services, "me", SETS), files, tmp_path)
    assert (tmp_path / "a").read_bytes() == orders()["extra/a.csv"]


def test_the_reading_process_gets_no_token_and_this_one_no_library(server: Hub, services: Services) -> None:
    code = (
        "import sys, studio.core.use_cases.hub_data;"
        "sys.exit(bool({'datasets', 'pandas', 'pyarrow', 'torch', 'fsspec'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0
    asked: list[dict[str, Any]] = []
    original = reader.ask
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "ask", lambda request, *rest: asked.append(request) or original(request, *rest))
        hub_data.look(services, "me", "acme/gated", TOKEN)
    assert asked and TOKEN not in repr(asked)
