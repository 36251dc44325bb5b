"""What was forecast of a run beside what it took. Values in, markup out."""

from typing import Any

from studio.core.stores.runs import Run
from studio.ui.markup import NOTHING, Markup, Text, facts, more
from studio.ui.units import count, duration, gib, is_number


def prediction(run: Run) -> Markup:
    """Memory, time, steps and tokens, forecast and actual; nothing for a run that had no forecast or is not through."""
    said, found = run.forecast or {}, run.result or {}
    if not said or not found:
        return NOTHING
    used = (found.get("memory") or {}).get("used")
    tokens = (run.spec or {}).get("tokens")
    rows = [
        row("Memory", said.get("bytes"), used, gib),
        row("Time", said.get("seconds"), found.get("seconds"), duration),
        row("Steps", said.get("steps"), found.get("steps"), count),
        row("Tokens in an epoch", said.get("epoch_tokens"), tokens, count),
    ]
    shown = [one for one in rows if one is not None]
    return more("Forecast and actual", facts(shown, "ts-facts--rows")) if shown else NOTHING


def row(name: str, said: Any, found: Any, words: Any) -> tuple[Text, Text] | None:
    """ "1.3 GiB, forecast 1.2 GiB (8% less)"; None where one of the two is not known."""
    if not (is_number(said) and is_number(found)) or not found:
        return None
    off = said / found - 1
    if abs(off) < 0.005:
        return name, f"{words(found)}, as forecast"
    share = f"{abs(off):.0%} {'more' if off > 0 else 'less'}"
    return name, f"{words(found)}, forecast {words(said)} ({share})"
