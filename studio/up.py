"""`tunesmith up`: web process and worker as two children, restarted when they die, ended together."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque

import httpx
from rich.console import Console

from studio.core.artifacts import write_json
from studio.core.errors import BootRefused, StudioError
from studio.core.lineage import PARENT_VARIABLE
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.demo import start_demo

log = logging.getLogger("tunesmith.up")
RESTARTS, WINDOW_SECONDS = 5, 600
TERM_SECONDS = 12
READY_SECONDS = 60
EXIT_BOOT = 3
COMMANDS = {"web": ["-m", "studio", "web"], "worker": ["-m", "worker"]}
console = Console(highlight=False)


class Child:
    """One of the two: its process, and when it was restarted."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        """Starts it."""
        self.name, self._environment = name, environment
        self._restarts: deque[float] = deque(maxlen=RESTARTS)
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, *COMMANDS[self.name]],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def restart(self) -> bool:
        """Start it again. False where it died too often."""
        now = time.monotonic()
        if len(self._restarts) == RESTARTS and now - self._restarts[0] < WINDOW_SECONDS:
            return False
        self._restarts.append(now)
        self.process = self._start()
        return True

    def end(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self.process.poll() is None:
            self.process.terminate()


def run_both(settings: Settings, *, demo: bool) -> int:
    """Until Ctrl-C or SIGTERM (0), or until one of the two died too often (1) or may not start (3)."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _leave)
    port = settings.port or _free_port(settings.host)
    _refuse_taken(settings.host, port)
    services = open_services(settings)
    environment = {**os.environ, "TUNESMITH_PORT": str(port), PARENT_VARIABLE: str(os.getpid())}
    children = [Child(name, environment) for name in COMMANDS]
    try:
        _announce(settings, port, children)
        if demo:
            _queue_demo(services)
        return _watch(services, children)
    except _Leaving:
        return 0
    finally:
        _end_all(children)


class _Leaving(BaseException):
    """Ctrl-C or SIGTERM."""


def _leave(*_: object) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    raise _Leaving


def _watch(services: Services, children: list[Child]) -> int:
    """Restart what dies; the exit code where that is no use."""
    while True:
        for child in children:
            code = child.process.poll()
            if code is None:
                continue
            if code == EXIT_BOOT:
                return EXIT_BOOT
            words = f"The {child.name} process ended (code {code}) and was started again."
            console.print(words, markup=False)
            write_json(services.settings.data_dir / "notice.json", {"at": time.time(), "words": words})
            if not child.restart():
                console.print(f"The {child.name} process died {RESTARTS + 1} times in 10 minutes. Giving up.")
                return 1
        time.sleep(0.3)


def _announce(settings: Settings, port: int, children: list[Child]) -> None:
    """Wait until the web process answers, then print its address."""
    host = settings.host if settings.is_loopback else "127.0.0.1"
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and all(child.process.poll() is None for child in children):
        try:
            if httpx.get(f"{address}/healthz", timeout=2, trust_env=False).is_success:
                console.print(f"Tunesmith is ready: {address}", markup=False)
                return
        except httpx.HTTPError:
            time.sleep(0.1)


def _queue_demo(services: Services) -> None:
    """The demo run, where this studio has none at all yet."""
    try:
        if not services.runs.of(LOCAL_USER, limit=1):
            run = start_demo(services, LOCAL_USER, idempotency_key="first-demo")
            console.print(f"The demo run is queued: {run.name}", markup=False)
    except StudioError as error:
        console.print(f"The demo run was not queued. {error.problem} {error.remedy}", markup=False)


def _end_all(children: list[Child]) -> None:
    for child in children:
        child.end()
    deadline = time.monotonic() + TERM_SECONDS
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()


def _free_port(host: str) -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BootRefused(
                f"Port {port} can not be used: {error.strerror}.", "Set TUNESMITH_PORT to another one, or to 0."
            ) from error
