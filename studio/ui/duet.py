"""Both answers at once, as a page can stream them: never silent for long, and over at once when the page says stop.

The engine is woken and read in a thread of its own, so that the generator that Gradio holds is never stuck inside a
wait: Gradio can close one only between two of its steps.
"""

import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import cast

from studio.core.engine_client import ChatOptions, Message, Piece, Timings
from studio.core.errors import StudioError
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.use_cases.chat import open_pair

TICK_SECONDS = 0.2
BETWEEN_SECONDS = 0.06
WAIT_SECONDS = 3.0
Stream = Generator[tuple[int, Piece], None, None]


@dataclass
class Pane:
    """One answer so far. `done` with `timings`, or with `error`."""

    text: str = ""
    done: bool = False
    finish: str = ""
    timings: Timings = field(default_factory=Timings)
    error: StudioError | None = None

    def take(self, piece: Piece) -> None:
        """Add a piece of the stream."""
        self.text += piece.text
        if piece.done:
            self.done, self.finish, self.timings, self.error = True, piece.finish, piece.timings, piece.error


@dataclass
class Duet:
    """What is known of both answers: `panes` are the base model's and the tuned one's."""

    panes: tuple[Pane, Pane] = field(default_factory=lambda: (Pane(), Pane()))
    awake: bool = False


class Answering:
    """Which tabs are being answered, so that a button can end an answer. Safe for several threads."""

    def __init__(self) -> None:
        """None is."""
        self._lock = threading.Lock()
        self._going: dict[str, Stop] = {}

    @contextmanager
    def begin(self, tab: str) -> Iterator["Stop"]:
        """While the block lasts, `end(tab)` sets what it gives. What goes on in the same tab is ended first."""
        self.end(tab)
        stop = Stop()
        with self._lock:
            self._going[tab] = stop
        try:
            yield stop
        finally:
            with self._lock:
                if self._going.get(tab) is stop:
                    del self._going[tab]
            stop.over.set()

    def end(self, tab: str, clear: bool = False) -> None:
        """End the answer of a tab, if there is one, and wait until it has ended. `clear`: nothing of it stays."""
        with self._lock:
            stop = self._going.get(tab)
        if stop is not None:
            stop.clear = clear
            stop.asked.set()
            stop.over.wait(WAIT_SECONDS)


@dataclass
class Stop:
    """A wish to stop: `asked` by a button, `over` once the answer has ended."""

    asked: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    clear: bool = False


def sing(
    services: Services, run: Run, chats: Sequence[Sequence[Message]], options: ChatOptions
) -> Generator[Duet, None, None]:
    """The answers to `chats` (the base model's and the tuned one's messages) as they are made, several times a second.

    Closing the iterator ends both streams. Raises what `open_pair` raises.
    """
    heard: queue.Queue[tuple[int, Piece] | Exception | None] = queue.Queue()
    enough = threading.Event()
    columns = list(zip(("base", run.id), chats, strict=True))

    def listen() -> None:
        try:
            client = open_pair(services, run)
            heard.put(None)
            if enough.is_set():
                return
            with closing(cast(Stream, client.stream_both(columns, options))) as stream:
                for column, piece in stream:
                    heard.put((column, piece))
                    if enough.is_set():
                        return
        except Exception as error:
            heard.put(error)

    threading.Thread(target=listen, daemon=True, name="duet").start()
    try:
        yield from follow(heard)
    finally:
        enough.set()


def follow(heard: "queue.Queue[tuple[int, Piece] | Exception | None]") -> Iterator[Duet]:
    """The state of both answers after what was heard, at least each `TICK_SECONDS`."""
    duet = Duet()
    while not all(pane.done for pane in duet.panes):
        started = time.monotonic()
        try:
            listen_once(duet, heard.get(timeout=TICK_SECONDS))
            while time.monotonic() - started < BETWEEN_SECONDS:  # a few pieces at once: a page is not a teletype
                listen_once(duet, heard.get(timeout=BETWEEN_SECONDS))
        except queue.Empty:
            pass
        yield duet


def listen_once(duet: Duet, said: "tuple[int, Piece] | Exception | None") -> None:
    """Take in one thing that was heard. Raises what went wrong before there was an answer."""
    if isinstance(said, Exception):
        raise said
    if said is None:
        duet.awake = True
        return
    duet.panes[said[0]].take(said[1])
