"""What rows of runs say on a page: share done, time left, results; and places that are sent only when they changed."""

import hashlib
import math
import socket
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from studio.core.config import RunConfig, parse_config
from studio.core.disk import room_words
from studio.core.errors import Faults
from studio.core.machine import Load, load_now, resident_bytes
from studio.core.services import Services
from studio.core.settings import Settings
from studio.core.stores.runs import Run
from studio.core.use_cases.line import own_pace
from studio.ui.frame import Chip
from studio.ui.line_view import Line, line_of
from studio.ui.markup import Markup, moment, share_of
from studio.ui.units import about, duration, figure, left, percent

MEMORY_SECONDS = 2
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_MOST_BEFORE_THE_END = 0.99


def chip(services: Services, owner: str) -> Chip | None:
    """The run that trains now, for the header; None where none does."""
    first = services.runs.of(owner, limit=1)
    if not first or not first[0].is_live:
        return None
    run = first[0]
    return Chip(run.id, run.name, run.state, share(run), time_left_words(run))


def share(run: Run) -> float:
    """How much is done, 0 to 1. Not 1 before it has succeeded: the check on held-out examples takes its time."""
    if run.state == "succeeded":
        return 1.0
    return min(share_of(run.step, run.steps), _MOST_BEFORE_THE_END)


def time_left(run: Run, now: float | None = None) -> float | None:
    """Seconds to the last step of a running run, from the pace of this attempt; None where that is not known."""
    return own_pace(run, time.time() if now is None else now) if run.state == "running" else None


def time_left_words(run: Run, now: float | None = None) -> str:
    """ "about 7 min left", or what it does instead of counting down."""
    words = {"starting": "loading the base model", "finalizing": "checking the result", "stopping": "stopping"}
    return words.get(run.state) or left(time_left(run, now)) or "time left not known yet"


def done_at(run: Run, now: float | None = None) -> float | None:
    """When the last step will be done, in seconds since 1970; None where that is not known."""
    seconds = time_left(run, now)
    return None if seconds is None else (time.time() if now is None else now) + seconds


def took(run: Run) -> str:
    """How long it ran, "1 min 42 s"; empty where it never started or goes on."""
    if run.started_at is None or run.ended_at is None:
        return ""
    return duration(run.ended_at - run.started_at)


def base_name(run: Run) -> str:
    """The base model's own name: the last part of a Hub id or of a folder, never a path."""
    return run.base_repo.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or "base model"


def config_of(run: Run) -> RunConfig:
    """What was set. A row from another version, with fields that are gone, shows the defaults instead of breaking."""
    try:
        return parse_config(run.config)
    except Faults:
        return RunConfig()


def number_of(values: Any, name: str) -> float | None:
    """A finite number out of a trainer's JSON; None where there is none."""
    found = values.get(name) if isinstance(values, dict) else None
    is_number = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if is_number and found is not None else None


def most_memory(run: Run) -> float | None:
    """Bytes that it held at most, as the forecast counts them: the accelerator's, else without the bare process."""
    peak = number_of(run.result, "peak_rss_mb")
    return number_of((run.result or {}).get("memory"), "used") or (peak * 1e6 if peak else None)


def scores(run: Run, name: str) -> tuple[float | None, float | None]:
    """`exact_match` or `loss` on the held-out examples as (base, tuned)."""
    result = run.result or {}
    return number_of(result.get("base"), name), number_of(result.get("tuned"), name)


def result_words(run: Run) -> str:
    """What came out of a run, or why nothing did, in a few words."""
    if run.state in ("failed", "interrupted"):
        return run.problem or "Ended without a word of why."
    base, tuned = scores(run, "exact_match")
    if tuned is not None:
        return f"{percent(tuned)} right" + ("" if base is None else f", base {percent(base)}")
    base, tuned = scores(run, "loss")
    if tuned is not None:
        return f"Held-out loss {figure(tuned, 2)}" if base is None else f"Loss {figure(base, 2)} to {figure(tuned, 2)}"
    return (run.problem or "Stopped") if run.state == "stopped" else ""


def line(services: Services, runs: Iterable[Run]) -> Line:
    """The line among all runs of a person, as it stands now."""
    can_start = worker_here(services) and room(services) is None
    return line_of(runs, services.line.paused_at() is not None, can_start)


def worker_here(services: Services) -> bool:
    """Whether a worker gave a sign of life lately."""
    machine = services.machines.newest()
    return machine is not None and machine.is_here


def room(services: Services) -> tuple[str, str] | None:
    """Problem and remedy where the disk is too full to start a run; asked once for all pages in two seconds."""
    return _room_at(services.settings, int(time.monotonic() / MEMORY_SECONDS))


def load(services: Services) -> Load:
    """The machine's memory and disk, asked once for all pages in two seconds."""
    return _load_at(services.settings.data_dir, int(time.monotonic() / MEMORY_SECONDS))


def memory_of(services: Services, run: Run) -> tuple[int, int]:
    """Resident bytes of a live run's processes, and of the whole machine; zero where it is not on this machine."""
    if not run.is_live or run.pid is None or run.host != socket.gethostname():
        return 0, 0
    return _resident_at(run.pid, int(time.monotonic() / MEMORY_SECONDS)), load(services).memory_total


@lru_cache(maxsize=4)
def _load_at(data_dir: Path, moment: int) -> Load:
    del moment
    return load_now(data_dir)


@lru_cache(maxsize=4)
def _room_at(settings: Settings, moment: int) -> tuple[str, str] | None:
    del moment
    return room_words(settings)


@lru_cache(maxsize=8)
def _resident_at(pid: int, moment: int) -> int:
    """Asking for a process and its children walks all processes: once for all pages in each `moment`."""
    del moment
    return resident_bytes(pid)


def started_words(run: Run) -> str:
    """ "Started 13:51", "Started yesterday 18:05"; empty where it has not."""
    if run.started_at is None:
        return ""
    words = moment(run.started_at)
    return "Started " + words.removeprefix("Today ").replace("Yesterday", "yesterday")


def shown(words: Markup) -> Any:
    """The update of a place that is not there while it has nothing to say (an empty one would leave a gap)."""
    return gr.update(value=str(words), visible=bool(words))


def spelled(number: int) -> str:
    """ "one" to "ten", then figures."""
    return _NUMBERS[number] if number < len(_NUMBERS) else f"{number:,}"


def sentence(parts: Sequence[str]) -> str:
    """Parts joined by commas, with a capital letter and a full stop."""
    words = ", ".join(part for part in parts if part)
    return words[:1].upper() + words[1:] + "." if words else ""


def minutes_words(seconds: float | None) -> str:
    """ "(about 3 min)" behind a button's words; empty while nobody measured it."""
    return "" if seconds is None or not math.isfinite(seconds) else f" ({about(seconds)})"


def changed(new: Sequence[Any], stamp: str | None) -> list[Any]:
    """Updates of the places whose content is not what `stamp` says, `gr.skip()` for the others, and the new stamp.

    `new` holds Markup or `gr.update(...)`; the stamp stands in a hidden box of the page, so a tick sends
    a few bytes and not what is shown.
    """
    texts = [value if isinstance(value, str) else repr(value) for value in new]
    marks = [hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=4).hexdigest() for text in texts]
    old = (stamp or "").split(" ")
    same = [i < len(old) and old[i] == mark for i, mark in enumerate(marks)]
    values = [str(value) if isinstance(value, Markup) else value for value in new]
    updates = [gr.skip() if known else value for known, value in zip(same, values, strict=True)]
    return [*updates, gr.skip() if all(same) and len(old) == len(marks) else " ".join(marks)]
