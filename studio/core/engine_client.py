"""Talks to the playground's process over its socket: plain HTTP in OpenAI's shape, answers as pieces."""

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import httpx

from studio.core.errors import NotFound, Refused, StudioError, Unavailable

SILENCE_S = 30.0
"""The engine speaks at least every five seconds while it works; after this long it is dead."""
Message = Mapping[str, Any]


@dataclass(frozen=True)
class ChatOptions:
    """How to answer. `temperature` 0 is greedy; without `seed` the engine draws one.

    Off are: `top_p` 1, `top_k` 0, `min_p` 0, `repetition_penalty` 1, `num_beams` 1 (more of them are told whole, at the
    end). `tools` go to the chat template; `continue_final` goes on with the last message, which is the assistant's.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()
    num_beams: int = 1
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    tools: Sequence[Mapping[str, Any]] = ()
    continue_final: bool = False


@dataclass(frozen=True)
class Timings:
    """Seconds to the first token, and tokens per second after it; none where there were too few."""

    first_token_s: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True)
class Piece:
    """A piece of an answer. The last one has `done`, and then `finish` ("stop", "length"), usage and timings.

    `prompt_hash` is of the ids that were read. `error` stands only in `stream_both`, where one column's fault must not
    end the others. `choice` is above 0 where several answers were asked for.
    """

    text: str = ""
    done: bool = False
    finish: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    timings: Timings = Timings()
    error: StudioError | None = None
    prompt_hash: str = ""
    choice: int = 0
    logprobs: Sequence[Mapping[str, Any]] = ()


class EngineClient:
    """The engine at one socket. Holds no connection between calls; safe for several threads."""

    def __init__(self, socket_path: Path) -> None:
        """`socket_path` is where the engine listens, now or later."""
        self._path = socket_path

    @property
    def socket_path(self) -> Path:
        """Where the engine listens: for the API, which talks to it without a thread."""
        return self._path

    def told(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A question as this server takes it: ours as it stands."""
        return dict(body)

    def async_http(self, wait_s: float) -> httpx.AsyncClient:
        """The same connection without a thread, for the API. The caller closes it."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._path), verify=False, trust_env=False)
        timeout = httpx.Timeout(wait_s, connect=2.0)
        return httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=timeout, trust_env=False)

    def _http(self, wait_s: float) -> httpx.Client:
        """A client for one call. Raises OSError where nobody listens: httpcore would leave its socket open there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(2.0)
            probe.connect(str(self._path))
        # No certificates are read (10 ms a pane, and no TLS here), and no proxy of the environment is asked.
        transport = httpx.HTTPTransport(uds=str(self._path), verify=False, trust_env=False)
        timeout = httpx.Timeout(wait_s, connect=2.0)
        return httpx.Client(transport=transport, base_url="http://engine", timeout=timeout, trust_env=False)

    def health(self, wait_s: float = 2.0) -> dict[str, Any] | None:
        """What the engine says of itself, none where it does not answer.

        ready, base, dtype, adapters, busy; `batch` and `queue` count requests, `memory` and `kept` bytes; tokens_per_s.
        """
        try:
            with self._http(wait_s) as http:
                answer = http.get("/healthz")
                return dict(answer.json()) if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError, OSError):
            return None

    def ready(self) -> bool:
        """Whether it answers questions now."""
        told = self.health()
        return told is not None and bool(told.get("ready"))

    def attach(
        self, name: str, folder: Path, quantization: str = "none", double: bool = True, template: str | None = None
    ) -> None:
        """Have the adapter of `folder` answer as model `name`, on the base model in as many bits as its run had it.

        `template` is the chat template that it was trained with, where none lies beside it. Raises Refused or
        Unavailable.
        """
        told = {"name": name, "folder": str(folder), "quantization": quantization, "double": double}
        told["template"] = template
        with translated(), self._http(300.0) as http:  # it waits for the batch that is being answered
            checked_answer(http.post("/adapters", json=told))

    def detach(self, name: str) -> None:
        """Forget an adapter. Raises NotFound or Unavailable."""
        with translated(), self._http(300.0) as http:
            checked_answer(http.delete(f"/adapters/{name}"))

    def prompt(self, model: str, messages: Sequence[Message], options: ChatOptions = ChatOptions()) -> dict[str, Any]:
        """What the model would read: the exact `text`, how many `tokens` it has, their `prompt_hash`.

        That is sha256 of the ids as 32-bit integers, the low byte first. Raises Refused, NotFound or Unavailable.
        """
        body = {"model": model, "messages": list(messages), **_given(options)}
        with translated(), self._http(SILENCE_S) as http:
            answer = http.post("/v1/prompt", json=body)
            checked_answer(answer)
            return dict(answer.json())

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
        with translated(), self._http(SILENCE_S) as http, http.stream(*asked, json=self.told(body)) as answer:
            if leash is not None:
                leash.hold(answer)
            checked_answer(answer)
            yield from _pieces(answer, options.n)

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
    told = {one.name: getattr(options, one.name) for one in fields(options)}
    told |= {"stop": list(options.stop), "tools": [dict(tool) for tool in options.tools] or None}
    return {name: value for name, value in told.items() if value is not None}


def _pieces(answer: httpx.Response, going: int = 1) -> Iterator[Piece]:
    """The pieces of a stream of server-sent events, up to the last of so many choices.

    Raises Unavailable where it breaks off.
    """
    for chunk in _with_figures(_chunks(answer)):
        for choice in chunk["choices"]:
            piece = _piece(chunk, choice)
            going -= piece.done
            if piece.text or piece.done or piece.logprobs:
                yield piece
        if not going:
            return
    raise gone()


def _chunks(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise as_error(503, chunk["error"])
            yield chunk


def _with_figures(chunks: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Another server tells its usage after the reason to end, and no timings: then they are as seen from here."""
    began, first, held = time.monotonic(), 0.0, list[dict[str, Any]]()
    for chunk in chunks:
        if chunk["choices"] and not first and chunk["choices"][0]["delta"].get("content"):
            first = time.monotonic() - began
        if any(choice["finish_reason"] for choice in chunk["choices"]) and not chunk.get("usage"):
            held.append(chunk)
        elif held and not chunk["choices"]:
            figures = _measured(chunk.get("usage") or {}, first, time.monotonic() - began)
            yield from (one | figures for one in held)
            held = []
        else:
            yield chunk
    yield from held


def _measured(usage: Mapping[str, int], first: float, seconds: float) -> dict[str, Any]:
    made, after = usage.get("completion_tokens", 0) - 1, seconds - first
    speed = round(made / after, 2) if made > 0 and after > 0 else None
    return {"usage": usage, "timings": {"first_token_s": round(first, 4) if first else None, "tokens_per_s": speed}}


def _piece(chunk: Mapping[str, Any], choice: Mapping[str, Any]) -> Piece:
    chances = (choice.get("logprobs") or {}).get("content") or ()
    place: dict[str, Any] = {"choice": choice["index"], "logprobs": chances}
    text = choice["delta"].get("content") or ""
    if not choice["finish_reason"]:
        return Piece(text, **place)
    figures = Timings(**chunk.get("timings", {}))
    usage, mark = chunk.get("usage") or {}, chunk.get("prompt_hash", "")
    return Piece(text, True, choice["finish_reason"], usage, figures, None, mark, **place)


def checked_answer(answer: httpx.Response) -> None:
    """Raise what a server has against a question."""
    if answer.status_code >= 400:
        answer.read()
        raise as_error(answer.status_code, answer.json().get("error") or {})


def as_error(status: int, told: Mapping[str, Any]) -> StudioError:
    """An error in OpenAI's shape as ours. Another server in the engine's place knows no `problem`."""
    kind = NotFound if status == 404 else Unavailable if status >= 500 else Refused
    words = str(told.get("problem") or told.get("message") or "It can not be answered.")
    return kind(words, str(told.get("remedy") or ""), field=str(told.get("param") or ""))


def gone() -> Unavailable:
    """Said where the engine died or was never there."""
    return Unavailable("The playground's process does not answer.", "Ask again; it starts anew.")


@contextmanager
def translated() -> Iterator[None]:
    """Every fault of the connection as one sentence."""
    try:
        yield
    except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
        raise gone() from error
