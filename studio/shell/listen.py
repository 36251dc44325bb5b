"""Listening: what may be listened on, the socket, and the server until it is told to end."""

import os
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from studio.core.errors import BootRefused
from studio.core.settings import Settings

GRACE_SECONDS = 3
_OPENERS = ("GRADIO_SHARE", "GRADIO_VIBE_MODE")


def check_boot(settings: Settings) -> None:
    """Refuse to start open to strangers. Raises BootRefused."""
    for name in _OPENERS:
        if os.environ.get(name):
            raise BootRefused(f"{name} is set; it would open the studio to strangers.", f"Unset {name}.")
    if not settings.is_loopback and not settings.trusted_network:
        raise BootRefused(
            f"TUNESMITH_HOST is {settings.host}, so others on the network could reach the studio, and it has no login.",
            "Set TUNESMITH_TRUSTED_NETWORK=1 if the network in front is trusted, or listen on 127.0.0.1.",
        )


def bind(settings: Settings) -> socket.socket:
    """The listening socket (port 0 takes a free one; ask `address`). Raises BootRefused where the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise BootRefused(
            f"Port {settings.port} on {settings.host} can not be used: {error.strerror or error}.",
            "Stop what listens there, or set TUNESMITH_PORT to another port.",
        ) from error
    listener.set_inheritable(False)
    return listener


def address(settings: Settings, listener: socket.socket) -> str:
    """What a person types into the browser."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{host}:{listener.getsockname()[1]}"


def run_server(app: ASGIApp, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; open streams get 3 s. `ready` is called when the socket answers."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    server.ready = ready
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server that says when it is ready."""

    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's, and then the word that it answers."""
        await super().startup(sockets)
        if self.started:
            self.ready()
