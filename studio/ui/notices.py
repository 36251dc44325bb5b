"""What went wrong, as a note that stays on the page: a `StudioError` as it stands, a bug as a short id.

`with_note(handler, outputs)` wraps a handler whose last output is the place of the note.
"""

import functools
import json
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from studio.core.errors import Faults, StudioError
from studio.ui.markup import NOTHING, Markup, join, note

log = logging.getLogger("tunesmith.pages")
FRESH_SECONDS = 600
MOST_WORDS = 300


def note_of(error: Exception) -> Markup:
    """The note of an error. What nobody foresaw goes to the log in full and to the person as a short id."""
    if isinstance(error, Faults):
        return join(note("bad", fault.problem, fault.remedy) for fault in error.faults)
    if isinstance(error, StudioError):
        return note("bad", error.problem, error.remedy)
    number = secrets.token_hex(3)
    log.error("A page handler broke (%s)", number, exc_info=error)
    return note("bad", f"Something went wrong (id {number}).", "Try again. The log has the whole story under this id.")


def with_note(handler: Callable[..., Any], outputs: int, shown: bool = False) -> Callable[..., Any]:
    """`handler`, which gives `outputs` updates, as one that gives a note's text behind them: empty where all went well.

    Where it raises, its other outputs stay as they are, so a form stays filled in. With `shown` the note's place is
    also hidden while it is empty. Not for generators: they catch and call `note_of`.
    """

    def place(words: Markup) -> Any:
        return gr.update(value=str(words), visible=bool(words)) if shown else str(words)

    @functools.wraps(handler)
    def guarded(*values: Any, **more: Any) -> Any:
        try:
            updates = handler(*values, **more)
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            words = place(note_of(error))
            return (*(gr.skip() for _ in range(outputs)), words) if outputs else words
        if not outputs:
            return place(NOTHING)
        return *(updates if outputs != 1 else (updates,)), place(NOTHING)

    return guarded


def fresh_notice(data_dir: Path, now: float | None = None) -> str:
    """What `tunesmith up` left in `notice.json` within the last ten minutes, as one line; empty where nothing."""
    try:
        found = json.loads((data_dir / "notice.json").read_text(encoding="utf-8"))
        age = (time.time() if now is None else now) - float(found["at"])
        words = " ".join(str(found["words"]).split())
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours
        return ""
    return words[:MOST_WORDS] if 0 <= age < FRESH_SECONDS else ""
