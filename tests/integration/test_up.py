"""`tunesmith up` keeps two processes alive, within reason."""

import os
import socket

import pytest

from studio import up
from studio.core.services import Services
from tests.waiting import free_port, wait_until

QUIET = ["-c", "import time; time.sleep(60)"]


def children(monkeypatch: pytest.MonkeyPatch, web: list[str], worker: list[str]) -> list[up.Child]:
    """Both children, with other programs in their places."""
    monkeypatch.setattr(up, "COMMANDS", {"web": web, "worker": worker})
    return [up.Child(name, dict(os.environ)) for name in up.COMMANDS]


def test_a_process_that_dies_again_and_again_ends_the_other_too(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = children(monkeypatch, ["-c", "raise SystemExit(7)"], QUIET)
    assert up._watch(services, both) == 1
    up._end_all(both)
    assert len(both[0]._restarts) == up.RESTARTS and both[1].process.returncode is not None
    assert "web process ended (code 7)" in (services.settings.data_dir / "notice.json").read_text()


def test_a_process_that_may_not_start_is_not_started_again(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    both = children(monkeypatch, QUIET, ["-c", "raise SystemExit(3)"])
    assert up._watch(services, both) == 3
    up._end_all(both)
    assert not both[1]._restarts


def test_a_process_that_ignores_the_end_is_ended_all_the_same(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "TERM_SECONDS", 1)
    deaf = services.settings.data_dir / "deaf"
    ignore = "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    both = children(monkeypatch, ["-c", f"{ignore}; pathlib.Path({str(deaf)!r}).touch(); time.sleep(60)"], QUIET)
    wait_until(deaf.exists)
    up._end_all(both)
    assert [child.process.poll() for child in both] == [-9, -15]


def test_a_port_in_use_is_refused_in_words() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(up.BootRefused, match=f"Port {port}"):
        up._refuse_taken("127.0.0.1", port)
