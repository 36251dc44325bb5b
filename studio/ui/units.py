"""Numbers in words, with their units. Pure; NaN, infinity and None never reach a page as such."""

import math

GIB = 1024**3
UNKNOWN = "unknown"


def is_number(value: object) -> bool:
    """Whether there is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def gib(size: float) -> str:
    """Memory in bytes: "9.3 GiB", "640 MiB"."""
    if size >= 10 * GIB:
        return f"{size / GIB:,.0f} GiB"
    return f"{size / GIB:.1f} GiB" if size >= 0.95 * GIB else f"{size / 1024**2:.0f} MiB"


def gib_of(part: float, whole: float) -> str:
    """Memory and its total, both in bytes: "9.3 GiB of 12 GiB"."""
    return f"{gib(part)} of {gib(whole)}"


def file_size(size: float) -> str:
    """A file or download in bytes, decimal as file managers say it: "212 MB", "1.4 GB", "9 kB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit * 0.9995:
            digits = 1 if size < 10 * unit and name != "kB" else 0
            return f"{size / unit:,.{digits}f} {name}"
    return count(size, "byte")


def count(number: float, word: str = "") -> str:
    """ "1,234", or with a word "1,234 examples" (its plural by an s)."""
    whole = round(number)
    return f"{whole:,} {word}{'' if whole == 1 else 's'}" if word else f"{whole:,}"


def duration(seconds: float | None) -> str:
    """How long it took: "9.4 s", "42 s", "1 min 42 s", "3 h 5 min"."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def about(seconds: float | None) -> str:
    """A guess: "under a minute", "about 7 min", "about 2 h", "about 2 h 30 min"."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    minutes = round(seconds / 60)
    if seconds < 60:
        return "under a minute"
    if minutes < 90:
        return f"about {minutes} min"
    halves = round(minutes / 30)
    return f"about {halves // 2} h" + (" 30 min" if halves % 2 else "")


def between(low: float, high: float) -> str:
    """A range of time: "2 to 4 min", "1 to 3 h", "under 2 min"."""
    first, last = math.floor(low / 60), math.ceil(high / 60)
    if last >= 180:
        return f"{low / 3600:.1f} to {high / 3600:.1f} h"
    return f"{first} to {last} min" if first else f"under {last} min"


def left(seconds: float | None) -> str:
    """ "about 7 min left"; empty where it is not known yet."""
    return "" if seconds is None or not math.isfinite(seconds) else f"{about(seconds)} left"


def figure(value: float | None, digits: int | None = None) -> str:
    """A measured value: with `digits` decimals, or three significant ones; powers of ten for the very big and small."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    if digits is not None and (not value or round(value, digits)):
        return f"{value:,.{digits}f}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share between 0 and 1: "63%"; never 100% before it is, nor 0% when it is more."""
    if share is None or not math.isfinite(share):
        return "–"
    whole = round(share * 100)
    whole = 99 if whole >= 100 and share < 1 else whole
    return f"{1 if whole == 0 and share > 0 else whole}%"
