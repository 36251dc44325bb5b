"""The only way out for files: adapters as a zip, logs as text, after the owner was checked."""

import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from studio.core.artifacts import PUBLISHED, is_id
from studio.core.errors import NotFound

CHUNK = 1 << 20
_NO_ADAPTER = ("This run has no adapter.", "It is there when the run has ended well.")


@dataclass(frozen=True)
class Located:
    """A file or folder that may leave, and the person's name for it (free text)."""

    path: Path
    name: str


@dataclass(frozen=True)
class RunFiles:
    """How the routes find things: `(owner, run_id) -> Located`, raising NotFound where it is not this owner's."""

    adapter: Callable[[str, str], Located]
    log: Callable[[str, str], Located]
    owner: Callable[[Request], str]
    chats: Callable[[str, str], tuple[str, Iterable[str]]] | None = None
    """`(owner, chat_id) -> (name, lines)` of one chat, or of all where the id is empty."""


def disposition(name: str, ending: str) -> str:
    """A Content-Disposition with a safe ASCII name and the full name beside it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "tunesmith"
    full = "".join(c for c in name if c.isprintable() and c not in '/\\"')[:80].strip() or plain
    return f"attachment; filename=\"{plain}{ending}\"; filename*=UTF-8''{quote(full + ending, safe='')}"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file without following a link in its last part. Raises OSError otherwise."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("not a regular file")
    return os.fdopen(handle, "rb")


class _Pipe(io.RawIOBase):
    """Where the zip is written: bytes wait here until they are sent."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def writable(self) -> bool:
        """Yes: this is where the zip is written."""
        return True

    def write(self, data: object) -> int:
        """Keep a piece until it is sent."""
        piece = bytes(data)  # type: ignore[call-overload]
        self.waiting += piece
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        piece = bytes(self.waiting)
        self.waiting.clear()
        return piece


def zipped(files: list[Path]) -> Iterator[bytes]:
    """A zip of the files as a stream, not compressed (weights do not shrink); about 1 MiB is in memory at a time."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for path in files:
            entry = zipfile.ZipInfo(path.name)
            entry.external_attr = 0o644 << 16
            with open_regular(path) as source, archive.open(entry, "w", force_zip64=True) as target:
                while piece := source.read(CHUNK):
                    target.write(piece)
                    yield pipe.take()
    yield pipe.take()


def adapter_files(folder: Path) -> list[Path]:
    """The plain files of an adapter or a whole model; links, folders and hidden files stay here.

    Raises NotFound without weights.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise NotFound(*_NO_ADAPTER)
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_file(follow_symlinks=False) and not e.name.startswith(".")]
    if not set(PUBLISHED) & set(names):
        raise NotFound(*_NO_ADAPTER)
    return [folder / name for name in sorted(names)]


def known(run_id: str) -> str:
    """The id, or NotFound where it has not even the shape of one."""
    if not is_id(run_id):
        raise NotFound("No such run.", "Open it from the list of runs.")
    return run_id


def download_router(files: RunFiles) -> APIRouter:
    """`/download/adapter/{run_id}` and `/download/log/{run_id}`; NotFound looks the same for all reasons."""
    router = APIRouter(prefix="/download")

    @router.get("/adapter/{run_id}")
    def adapter(run_id: str, request: Request) -> StreamingResponse:
        found = files.adapter(files.owner(request), known(run_id))
        content = zipped(adapter_files(found.path))
        headers = {"Content-Disposition": disposition(found.name, "-adapter.zip"), "Cache-Control": "no-store"}
        return StreamingResponse(content, media_type="application/zip", headers=headers)

    @router.get("/log/{run_id}")
    def log(run_id: str, request: Request) -> StreamingResponse:
        found = files.log(files.owner(request), known(run_id))
        try:
            source = open_regular(found.path)
        except OSError as error:
            raise NotFound("This run has no log yet.", "It is there after the start.") from error
        headers = {"Content-Disposition": disposition(found.name, ".log"), "Cache-Control": "no-store"}
        return StreamingResponse(pieces(source), media_type="text/plain; charset=utf-8", headers=headers)

    if files.chats is not None:
        add_chats(router, files.chats, files.owner)
    return router


def add_chats(
    router: APIRouter, lines: Callable[[str, str], tuple[str, Iterable[str]]], owner: Callable[[Request], str]
) -> None:
    """`/chats` and `/chats/{chat_id}`: all chats of a person, or one, as lines of JSON."""

    def sent(name: str, content: Iterable[str]) -> StreamingResponse:
        headers = {"Content-Disposition": disposition(name, ".jsonl"), "Cache-Control": "no-store"}
        return StreamingResponse(iter(content), media_type="application/jsonl; charset=utf-8", headers=headers)

    @router.get("/chats")
    def all_chats(request: Request) -> StreamingResponse:
        return sent(*lines(owner(request), ""))

    @router.get("/chats/{chat_id}")
    def one_chat(chat_id: str, request: Request) -> StreamingResponse:
        return sent(*lines(owner(request), known(chat_id)))


def pieces(source: BinaryIO) -> Iterator[bytes]:
    """A file in pieces, closed at the end."""
    with source:
        while piece := source.read(CHUNK):
            yield piece
