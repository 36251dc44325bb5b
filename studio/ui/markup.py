"""Our own markup as small functions that escape by themselves.

Every function takes text or `Markup` and returns `Markup`: plain text is escaped where it is put in, `Markup` passes as
it is. So text from people needs no thought. HTML is built with `Markup("<b>{}</b>").format(name)` (which escapes its
arguments) or `join`, never with an f-string, which would not escape (ruff's S704 holds it).
"""

import math
import time
from collections.abc import Iterable
from typing import Literal

import gradio as gr
from markupsafe import Markup, escape

from studio.ui.theme import ICONS, SHAPES

Text = str | Markup
NOTHING = Markup("")
Kind = Literal["good", "warn", "bad", "plain"]
NOTE_SHAPES: dict[str, str] = {"warn": "interrupted", "bad": "failed", "good": "succeeded", "plain": "queued"}
NAV = {"Home": "/", "Runs": "/runs", "Datasets": "/datasets", "Playground": "/playground", "New run": "/new"}


def html(value: Markup = NOTHING, *classes: str, visible: bool = True) -> gr.HTML:
    """A place for our markup: no prose styles, no click handler. Data goes into the value, never into a template."""
    return gr.HTML(str(value), elem_classes=list(classes), apply_default_css=False, js_on_load=None, visible=visible)


def card(value: Markup = NOTHING, *classes: str, min_width: int = 280) -> gr.HTML:
    """A card with nothing but markup in it; returns the place, for updates."""
    with gr.Column(elem_classes=["ts-card", *classes], min_width=min_width):
        return html(value)


def join(parts: Iterable[Text]) -> Markup:
    """The parts one after another, text escaped."""
    return Markup("").join(parts)


def icon(name: str) -> Markup:
    """A drawn icon of the theme."""
    drawing = Markup(ICONS[name])  # noqa: S704 - drawn by us
    return Markup('<svg viewBox="0 0 20 20" aria-hidden="true">{}</svg>').format(drawing)


def state(name: str, words: bool = True) -> Markup:
    """A run's state as its shape, with its word beside it."""
    drawing = Markup(SHAPES[name])  # noqa: S704 - drawn by us
    shape = Markup('<svg viewBox="0 0 16 16" aria-hidden="true">{}</svg>').format(drawing)
    return Markup('<span class="ts-state ts-state--{}">{}{}</span>').format(
        name, shape, name.capitalize() if words else ""
    )


def facts(pairs: Iterable[tuple[Text, Text]], kind: str = "") -> Markup:
    """Names and values. `kind` is "", "ts-facts--grid" or "ts-facts--rows"."""
    rows = join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, value) for name, value in pairs)
    return Markup('<dl class="ts-facts {}">{}</dl>').format(kind, rows)


def share_of(part: float, whole: float) -> float:
    """`part / whole` between 0 and 1; 0 where there is no whole."""
    share = part / whole if whole else 0.0
    return min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0


def bar(share: float, words: str, marks: Iterable[float] = ()) -> Markup:
    """A bar of progress, 0 to 1, named by `words`, with marks at the given shares."""
    share = share_of(share, 1)
    ticks = join(Markup('<i style="left:{:.1%}"></i>').format(mark) for mark in marks)
    return Markup(
        '<div class="ts-bar" role="progressbar" aria-valuenow="{:.0f}" aria-valuemin="0" aria-valuemax="100"'
        ' aria-label="{}"><span style="width:{:.1%}"></span>{}</div>'
    ).format(share * 100, words, share, ticks)


def note(kind: Kind, title: Text, text: Text = "", more: Text = "") -> Markup:
    """One sentence of what is so, one of what it means or what helps."""
    below = Markup("<p>{}</p>").format(text) if text else ""
    return Markup('<div class="ts-note ts-note--{}">{}<div><strong>{}</strong>{}{}</div></div>').format(
        kind, state(NOTE_SHAPES[kind], words=False), title, below, more
    )


def head(title: Text, text: Text = "", action: Text = "", crumb: str = "") -> Markup:
    """The head of a page: crumb (a name of the navigation), title, one line of facts, an action at the right."""
    up = link(crumb, NAV[crumb]) if crumb else ""
    up = Markup('<p class="crumb">{}</p>').format(up) if up else ""
    meta = Markup('<p class="meta">{}</p>').format(text) if text else ""
    return Markup('<div class="ts-head"><div>{}<h1>{}</h1>{}</div>{}</div>').format(up, title, meta, action)


def cardhead(title: Text, more: Text = "") -> Markup:
    """The title of a card, and what stands at its right."""
    return Markup('<div class="ts-cardhead"><h2>{}</h2>{}</div>').format(title, more)


def more(title: Text, text: Text) -> Markup:
    """What folds. A ticked box, not `<details>`: an update would close that."""
    return Markup('<div class="ts-more"><label><input type="checkbox">{}</label><div>{}</div></div>').format(
        title, text
    )


def muted(text: Text) -> Markup:
    """A quiet sentence."""
    return Markup('<p class="ts-muted">{}</p>').format(text)


def link(words: Text, address: str) -> Markup:
    """A link in a sentence. `address` is our own: a path with encoded values."""
    return Markup('<a class="ts-link" href="{}">{}</a>').format(address, words)


def link_button(words: Text, address: str, plain: bool = False) -> Markup:
    """A link that looks like a button."""
    kind = "ts-button ts-button--plain" if plain else "ts-button"
    return Markup('<a class="{}" href="{}">{}</a>').format(kind, address, words)


def empty(title: Text, text: Text, action: Text = "") -> Markup:
    """An empty place: what is not here, and what to do next."""
    return Markup('<div class="ts-empty"><h2>{}</h2><p>{}</p>{}</div>').format(title, text, action)


def log_text(text: str) -> Markup:
    """Lines of a log, in a box that scrolls."""
    return Markup('<pre class="ts-log" tabindex="0">{}</pre>').format(text)


def when(seconds: float | None) -> Markup:
    """A moment (seconds since 1970) in words, in a `<time>` that a program can read."""
    if seconds is None:
        return Markup("")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    return Markup('<time datetime="{}">{}</time>').format(stamp, moment(seconds))


def moment(seconds: float, now: float | None = None) -> str:
    """ "Today 13:20", "Yesterday 18:05", "21 November", "21 November 2024": this machine's time."""
    at, today = time.localtime(seconds), time.localtime(now)
    day = time.strftime("%Y%j", at)
    if day == time.strftime("%Y%j", today):
        return time.strftime("Today %H:%M", at)
    if day == time.strftime("%Y%j", time.localtime((now or time.time()) - 86400)):
        return time.strftime("Yesterday %H:%M", at)
    month = time.strftime("%B", at)
    return f"{at.tm_mday} {month}" + ("" if at.tm_year == today.tm_year else f" {at.tm_year}")


def clock(seconds: float | None) -> str:
    """The time of day, "13:20"; empty for None."""
    return "" if seconds is None else time.strftime("%H:%M", time.localtime(seconds))


__all__ = [
    "NAV", "Kind", "Markup", "Text", "bar", "card", "cardhead", "clock", "empty", "escape", "facts", "head", "html",
    "icon", "join", "link", "link_button", "log_text", "moment", "more", "muted", "note", "share_of", "state", "when",
]  # fmt: skip
