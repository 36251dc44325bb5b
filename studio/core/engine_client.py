"""Talks to the playground's process over its socket: plain HTTP in OpenAI's shape, answers as pieces."""

import json
import queue
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from studio.core.errors import NotFound, Refused, StudioError, Unavailable

SILENCE_S = 30.0
"""The engine speaks at least every five seconds while it works; after this long it is dead."""
Message = Mapping[str, Any]


@dataclass(frozen=True)
class ChatOptions:
    """How to answer. `temperature` 0 is greedy; without `seed` the engine draws one."""

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    num_beams: int = 1
    continue_final: bool = False


@dataclass(frozen=True)
class Timings:
    """Seconds to the first token, and tokens per second after it; none where there were too few."""

    first_token_s: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Piece:
    """A piece of an answer. The last one has `done`, and then `finish` ("stop", "length"), usage and timings.

    `error` stands only in `stream_both`, where one column's fault must not end the others.
    """

    text: str = ""
    done: bool = False
    finish: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    timings: Timings = Timings()
    error: StudioError | None = None


class EngineClient:
    """The engine at one socket. Holds no connection between calls; safe for several threads."""

    def __init__(self, socket_path: Path) -> None:
        """`socket_path` is where the engine listens, now or later."""
        self._path = socket_path

    def _http(self, wait_s: float) -> httpx.Client:
        """A client for one call. Raises OSError where nobody listens: httpcore would leave its socket open there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(2.0)
            probe.connect(str(self._path))
        # No certificates are read (10 ms a pane, and no TLS here), and no proxy of the environment is asked.
        transport = httpx.HTTPTransport(uds=str(self._path), verify=False, trust_env=False)
        timeout = httpx.Timeout(wait_s, connect=2.0)
        return httpx.Client(transport=transport, base_url="http://engine", timeout=timeout, trust_env=False)

    def health(self) -> dict[str, Any] | None:
        """What the engine says of itself: ready, base, dtype, adapters, busy; none where it does not answer."""
        try:
            with self._http(2.0) as http:
                answer = http.get("/healthz")
                return dict(answer.json()) if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError, OSError):
            return None

    def ready(self) -> bool:
        """Whether it answers questions now."""
        told = self.health()
        return told is not None and bool(told.get("ready"))

    def attach(self, name: str, folder: Path, quantization: str = "none", double: bool = True) -> None:
        """Have the adapter of `folder` answer as model `name`, on the base model in as many bits as its run had it.

        Raises Refused or Unavailable.
        """
        told = {"name": name, "folder": str(folder), "quantization": quantization, "double": double}
        with _translated(), self._http(300.0) as http:  # it waits for the batch that is being answered
            _check(http.post("/adapters", json=told))

    def detach(self, name: str) -> None:
        """Forget an adapter. Raises NotFound or Unavailable."""
        with _translated(), self._http(300.0) as http:
            _check(http.delete(f"/adapters/{name}"))

    def stream_chat(
        self,
        model: str,
        messages: Sequence[Message],
        options: ChatOptions = ChatOptions(),
        leash: "Leash | None" = None,
        columns: int = 1,
    ) -> Iterator[Piece]:
        """The answer of "base" or an attached adapter as it is made. Closing the iterator stops the engine.

        Raises Refused, NotFound or Unavailable; `leash` lets another thread cut the connection; `columns` is how many
        answers are asked for at this moment, so that the engine makes them together.
        """
        body = {"model": model, "messages": list(messages), "stream": True, "columns": columns, **_given(options)}
        asked = ("POST", "/v1/chat/completions")
        with _translated(), self._http(SILENCE_S) as http, http.stream(*asked, json=body) as answer:
            if leash is not None:
                leash.hold(answer)
            _check(answer)
            yield from _pieces(answer)

    def prompt(self, model: str, messages: Sequence[Message], options: ChatOptions = ChatOptions()) -> dict[str, Any]:
        """What the model would read: the exact `text`, how many `tokens` it has, their `prompt_hash`."""
        body = {"model": model, "messages": list(messages), **_given(options)}
        with _translated(), self._http(SILENCE_S) as http:
            answer = http.post("/v1/prompt", json=body)
            _check(answer)
            return dict(answer.json())

    def stream_both(
        self, columns: Sequence[tuple[str, Sequence[Message]]], options: ChatOptions = ChatOptions()
    ) -> Iterator[tuple[int, Piece]]:
        """The answers of several (model, messages) at once, as (column, piece) in order of arrival.

        Each column ends with one piece that is `done`; a fault stands in its `error`. Closing stops all columns.
        """
        pieces: queue.Queue[tuple[int, Piece]] = queue.Queue()
        leashes = [Leash() for _ in columns]
        for index, (model, messages) in enumerate(columns):
            stream = self.stream_chat(model, messages, options, leashes[index], len(columns))
            threading.Thread(target=_pump, args=(index, stream, pieces), daemon=True, name=f"pane-{index}").start()
        going = len(columns)
        try:
            while going:
                index, piece = pieces.get()
                going -= piece.done
                yield index, piece
        finally:
            for leash in leashes:
                leash.cut()


class Leash:
    """Lets one thread cut a connection on which another one waits."""

    def __init__(self) -> None:
        """Holds nothing yet."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_cut = False

    def hold(self, answer: httpx.Response) -> None:
        """Hold the connection of this answer; cuts it at once where that was asked before."""
        stream = answer.extensions["network_stream"]
        with self._lock:
            self._socket = stream.get_extra_info("socket")
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        """End the connection; harmless on one that has ended."""
        self.is_cut = True
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that reads


def _pump(index: int, stream: Iterator[Piece], pieces: "queue.Queue[tuple[int, Piece]]") -> None:
    try:
        for piece in stream:
            pieces.put((index, piece))
    except StudioError as error:
        pieces.put((index, Piece(done=True, error=error)))


def _given(options: ChatOptions) -> dict[str, Any]:
    told: dict[str, Any] = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_tokens,
        "stop": list(options.stop),
        "top_k": options.top_k,
        "min_p": options.min_p,
        "repetition_penalty": options.repetition_penalty,
        "num_beams": options.num_beams,
        "continue_final": options.continue_final,
    }
    return told if options.seed is None else {**told, "seed": options.seed}


def _pieces(answer: httpx.Response) -> Iterator[Piece]:
    """The pieces of a stream of server-sent events. Raises Unavailable where it breaks off."""
    for line in answer.iter_lines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        chunk = json.loads(line[6:])
        if "error" in chunk:
            raise _as_error(503, chunk["error"])
        choice = chunk["choices"][0]
        if choice["finish_reason"]:
            yield Piece("", True, choice["finish_reason"], chunk["usage"], Timings(**chunk["timings"]))
            return
        if choice["delta"].get("content"):
            yield Piece(choice["delta"]["content"])
    raise _gone()


def _check(answer: httpx.Response) -> None:
    if answer.status_code >= 400:
        answer.read()
        raise _as_error(answer.status_code, answer.json()["error"])


def _as_error(status: int, told: Mapping[str, Any]) -> StudioError:
    kind = {404: NotFound, 503: Unavailable}.get(status, Refused)
    return kind(str(told["problem"]), str(told["remedy"]), field=str(told.get("param") or ""))


def _gone() -> Unavailable:
    return Unavailable("The playground's process does not answer.", "Ask again; it starts anew.")


@contextmanager
def _translated() -> Iterator[None]:
    """Every fault of the connection as one sentence."""
    try:
        yield
    except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
        raise _gone() from error
