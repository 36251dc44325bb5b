"""The engine's process from its first moment to its last: device, socket, idleness, and making room for a run."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import NoReturn

import psutil
import torch
import uvicorn

from studio.core import locks
from studio.core.engine_socket import prepare_socket
from studio.core.errors import Unavailable
from studio.core.settings import Settings
from worker.engine.batcher import Batcher
from worker.engine.models import LoadedModel
from worker.engine.prompts import Prompts
from worker.engine.server import Engine, build_app
from worker.gpu import DTYPES, best_device, fastest_dtype, matmul_speeds, use_threads

LEAVE_S = 1
"""How long open answers have to hear of the end."""
KEPT_SHARE = 16
"""So much of the memory, a sixteenth, is for what finished answers have read, but no more than a gibibyte."""
FREE_SHARE = 0.6
"""A run and the playground share an accelerator of whose memory this much is free when the run takes it."""
ENDED = Unavailable("The playground's process was ended in the middle of the answer.", "Ask again.")
ROOM_MADE = Unavailable("A run has taken the accelerator, and both do not fit.", "Ask again: the processor answers.")


def makes_room(held: bool, free: int, total: int) -> bool:
    """Whether the engine leaves an accelerator that a run has taken, or does not begin on it; bytes."""
    return held and free < FREE_SHARE * total


def run_needs(device: str, settings: Settings) -> bool:
    """Whether a run is at work on this accelerator that leaves too little for others; never on a processor."""
    if device == "cpu":
        return False
    held = locks.is_held(settings.locks_dir / "gpu-0.lock")
    return held and makes_room(held, *torch.cuda.mem_get_info(device))


def serve(base_folder: str, socket_path: str) -> NoReturn:
    """Load the model, answer until idle or told to end, then exit with 0."""
    settings, folder, path = Settings(), Path(base_folder), Path(socket_path)
    threads, device = use_threads(settings.threads), best_device().name
    device = "cpu" if run_needs(device, settings) else device
    dtype = DTYPES[settings.engine_dtype or fastest_dtype(matmul_speeds(device))]
    loaded = LoadedModel(folder, dtype, device)
    kept = min(psutil.virtual_memory().total // KEPT_SHARE, 2**30)
    engine = Engine(folder.name, loaded, Prompts(folder), Batcher(loaded, threads, kept))
    engine.batcher.start()
    config = uvicorn.Config(build_app(engine), log_level="warning", timeout_graceful_shutdown=LEAVE_S, lifespan="off")
    try:
        asyncio.run(_live(engine, uvicorn.Server(config), _listen(path), settings))
    finally:
        path.unlink(missing_ok=True)
    engine.batcher.join(LEAVE_S / 2)
    logging.shutdown()
    os._exit(0)  # all is said and tidied: taking torch apart needs seconds, and a long product can not be interrupted


def _listen(path: Path) -> socket.socket:
    """A listening socket of mode 0600 from its first moment on."""
    prepare_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


async def _live(engine: Engine, server: uvicorn.Server, listener: socket.socket, settings: Settings) -> None:
    # Uvicorn raises the signal that ended it once more when it is done: with this, that one does nothing.
    signal.signal(signal.SIGTERM, lambda *_: None)
    watch = asyncio.create_task(_leave_when_due(engine, server, settings))
    try:
        await server.serve(sockets=[listener])
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


async def _leave_when_due(engine: Engine, server: uvicorn.Server, settings: Settings) -> None:
    """End the server where nobody asks, or a run needs its accelerator; once it ends, end the answers too."""
    farewell = None
    while not server.should_exit:
        if engine.batcher.busy:
            engine.used = time.monotonic()
        if run_needs(str(engine.loaded.base.device), settings):
            farewell, server.should_exit = ROOM_MADE, True
        if time.monotonic() - engine.used > settings.engine_idle_seconds:
            server.should_exit = True
        await asyncio.sleep(0.1)
    engine.batcher.close(farewell or ENDED)
