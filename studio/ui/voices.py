"""Up to three answers at once, as a page can stream them: never silent for long, over at once when it says stop.

The engine is woken and read in a thread of its own, so that the generator that Gradio holds is never stuck inside a
wait: Gradio can close one only between two of its steps.
"""

import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import cast

from studio.core.engine_client import ChatOptions, Message, Piece, Timings
from studio.core.errors import StudioError
from studio.core.services import Services
from studio.core.stores.chats import Said
from studio.core.use_cases.chat import open_model

TICK_SECONDS = 0.2
BETWEEN_SECONDS = 0.06
MOST_BETWEEN_SECONDS = 0.3
LETTERS_A_SECOND = 20_000
WAIT_SECONDS = 3.0
Stream = Generator[tuple[int, Piece], None, None]


@dataclass(frozen=True)
class Part:
    """What one pane is asked: its place on the page, who answers there, the messages, what stands already."""

    place: int
    name: str
    messages: Sequence[Message]
    begun: str = ""


@dataclass
class Pane:
    """One answer so far. `done` with `timings` and `usage`, or with `error`."""

    text: str = ""
    done: bool = False
    finish: str = ""
    timings: Timings = field(default_factory=Timings)
    usage: Mapping[str, int] = field(default_factory=dict)
    error: StudioError | None = None

    def take(self, piece: Piece) -> None:
        """Add a piece of the stream."""
        self.text += piece.text
        if piece.done:
            self.done, self.finish, self.timings, self.error = True, piece.finish, piece.timings, piece.error
            self.usage = piece.usage

    def said(self) -> Said:
        """The answer as it is kept; one that was stopped has no finish."""
        facts = {"finish": self.finish, "usage": dict(self.usage), **asdict(self.timings)}
        return Said(self.text, None, {name: value for name, value in facts.items() if value})


@dataclass
class Voices:
    """What is known of the answers: a pane by its place on the page."""

    panes: dict[int, Pane]
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
    services: Services, owner: str, parts: Sequence[Part], options: ChatOptions, wanted: Sequence[str]
) -> Generator[Voices, None, None]:
    """The answers to `parts` as they are made, several times a second; the engine holds all of `wanted`.

    Closing the iterator ends all streams. Raises what `open_model` raises.
    """
    heard: queue.Queue[tuple[int, Piece] | Exception | None] = queue.Queue()
    enough = threading.Event()
    columns = [(part.name, part.messages) for part in parts]

    def listen() -> None:
        try:
            client = open_model(services, owner, wanted)
            heard.put(None)
            if enough.is_set():
                return
            with closing(cast(Stream, client.stream_both(columns, options))) as stream:
                for column, piece in stream:
                    heard.put((parts[column].place, piece))
                    if enough.is_set():
                        return
        except Exception as error:
            heard.put(error)

    threading.Thread(target=listen, daemon=True, name="voices").start()
    try:
        yield from follow(heard, Voices({part.place: Pane(part.begun) for part in parts}))
    finally:
        enough.set()


def follow(heard: "queue.Queue[tuple[int, Piece] | Exception | None]", voices: Voices) -> Iterator[Voices]:
    """The state of all answers after what was heard, at least each `TICK_SECONDS`."""
    while not all(pane.done for pane in voices.panes.values()):
        started = time.monotonic()
        try:
            listen_once(voices, heard.get(timeout=TICK_SECONDS))
            pause = pause_of(voices)
            while time.monotonic() - started < pause:  # a few pieces at once: a page is not a teletype
                listen_once(voices, heard.get(timeout=BETWEEN_SECONDS))
        except queue.Empty:
            pass
        yield voices


def pause_of(voices: Voices) -> float:
    """Seconds between two updates: long answers are drawn whole each time, so the browser gets more time for them."""
    letters = sum(len(pane.text) for pane in voices.panes.values())
    return min(BETWEEN_SECONDS + letters / LETTERS_A_SECOND, MOST_BETWEEN_SECONDS)


def listen_once(voices: Voices, said: "tuple[int, Piece] | Exception | None") -> None:
    """Take in one thing that was heard. Raises what went wrong before there was an answer."""
    if isinstance(said, Exception):
        raise said
    if said is None:
        voices.awake = True
        return
    voices.panes[said[0]].take(said[1])
