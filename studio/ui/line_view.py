"""The line of waiting runs in words: whose turn comes when, and why one waits. Pure: rows in, words out."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from studio.core.states import ENDED
from studio.core.stores.runs import Run
from studio.core.use_cases.line import WAITING, expected_starts
from studio.ui.markup import Markup, Text, clock, link, note
from studio.ui.units import about

NOW_SECONDS, SOON_SECONDS = 5, 60


@dataclass(frozen=True)
class Line:
    """What waits, in its order. `starts` are UTC seconds or None where nobody can know; `names` of all that go on."""

    waiting: tuple[Run, ...]
    starts: Mapping[str, float | None]
    names: Mapping[str, str]
    paused: bool
    now: float

    def place(self, run: Run) -> int | None:
        """Its place, from 1; None where it does not wait."""
        return next((i for i, one in enumerate(self.waiting, 1) if one.id == run.id), None)

    def before(self, run: Run) -> str | None:
        """The name of the run that it comes after, while that one goes on."""
        return self.names.get(run.after_run_id or "")


def line_of(runs: Iterable[Run], paused: bool, can_start: bool, now: float | None = None) -> Line:
    """The line among all runs of a person. No start is expected where nothing `can_start`: no worker, no room."""
    everyone, moment = list(runs), time.time() if now is None else now
    waiting = sorted((run for run in everyone if run.state in WAITING), key=lambda run: run.position)
    starts = expected_starts(everyone, paused, moment) if can_start else {}
    names = {run.id: run.name for run in everyone if run.state not in ENDED}
    return Line(tuple(waiting), starts, names, paused, moment)


def wait_words(run: Run, line: Line) -> str:
    """When a waiting run starts, or what it waits for, in a few words."""
    if run.held:
        return "Held"
    if line.paused:
        return "When the queue is resumed"
    if run.not_before and run.not_before > line.now:
        return f"Tries again about {soon(run.not_before, line.now)}"
    start, before = line.starts.get(run.id), line.before(run)
    if before:
        return f"After {before}" + (f", about {soon(start, line.now)}" if start else "")
    if start is not None:
        return start_words(start, line.now)
    place = line.place(run)
    return "Next in line" if place == 1 else f"Place {place} in line"


def start_words(start: float, now: float) -> str:
    """ "Starts about 14:36"."""
    if start - now < NOW_SECONDS:
        return "Starts any moment"
    return "Starts in under a minute" if start - now < SOON_SECONDS else f"Starts about {soon(start, now)}"


def soon(at: float, now: float) -> str:
    """A moment to come: "14:36", "14:36 tomorrow", "14:36 on 3 August"."""
    there, today, tomorrow = (time.localtime(moment) for moment in (at, now, now + 86400))
    if there[:3] == today[:3]:
        return clock(at)
    if there[:3] == tomorrow[:3]:
        return f"{clock(at)} tomorrow"
    return f"{clock(at)} on {there.tm_mday} {time.strftime('%B', there)}"


def choices(line: Line) -> list[tuple[str, str]]:
    """The line as choices with a second line: place and name, then when it starts; the value is the run's id."""
    return [(f"{i}. {run.name}\n{wait_words(run, line)}", run.id) for i, run in enumerate(line.waiting, 1)]


def ends_of_line(run: Run, line: Line) -> str:
    """Why the chosen run can not be moved one way or the other; empty where it can be moved both ways."""
    if len(line.waiting) == 1:
        return "It is the only one in line."
    place = line.place(run)
    return {1: "It is first in line.", len(line.waiting): "It is last in line."}.get(place or 0, "")


def goes_on_words(run: Run) -> str:
    """From where a run that was cut off goes on: "It goes on from step 120, saved 13:40."; empty before it began."""
    if run.checkpoint_step and run.checkpoint_at:
        return f"It goes on from step {run.checkpoint_step:,}, saved {clock(run.checkpoint_at)}."
    return "It begins again." if run.claim else ""


def checkpoint_words(run: Run, now: float | None = None) -> str:
    """The newest checkpoint of a live run: "step 120, 2 min ago"; empty before the first."""
    if not run.checkpoint_step or run.checkpoint_at is None:
        return ""
    ago = (time.time() if now is None else now) - run.checkpoint_at
    return f"step {run.checkpoint_step:,}, {about(max(0.0, ago)).removeprefix('about ')} ago"


def paused_note(here: bool = False) -> Markup:
    """That nothing new starts. Not `here`, with the way to the place where that is ended."""
    way = "" if here else Markup("<p>{} to resume it.</p>").format(link("Go to Runs", "/runs"))
    return note("warn", "The queue is paused", "What runs goes on. Nothing new starts until it is resumed.", way)


def waiting_note(run: Run, line: Line, worker_here: bool, room: tuple[str, str] | None) -> Markup:
    """Why a queued run does not run yet, and from where it goes on if it was cut off before."""
    after = " ".join(words for words in (run.problem, goes_on_words(run)) if words)
    below: Text = Markup("<p>{}</p>").format(after) if after else ""
    if not worker_here:
        words = "Start it with tunesmith worker. This run then begins by itself."
        return note("warn", "No worker is running", words, below)
    first = paused_note() if line.paused else Markup("")
    first += note("warn", *room) if room else Markup("")
    if run.held:
        return first + note("plain", "Held back", "It waits until you release it. Others pass it meanwhile.", below)
    if line.paused:
        return first + (note("plain", "Waiting for its turn", after) if after else Markup(""))
    return first + note("plain", *turn_words(run, line), below)


def turn_words(run: Run, line: Line) -> tuple[str, str]:
    """Title and sentence for a run that nothing keeps back but its turn."""
    start, before = line.starts.get(run.id), line.before(run)
    if run.not_before and run.not_before > line.now:
        return f"It tries again about {soon(run.not_before, line.now)}", "By itself. You can close this page."
    if before:
        when = f", about {soon(start, line.now)}" if start else ""
        return f"Waiting for {before}", f"It starts when that run has ended{when}. You can close this page."
    when = "" if start is None or start - line.now < SOON_SECONDS else f" about {soon(start, line.now)}"
    return "Waiting for its turn", f"It starts by itself{when}. You can close this page."
