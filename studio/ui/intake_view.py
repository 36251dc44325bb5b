"""What an intake says: how far it is, what is wrong with some rows, what was made. Values in, markup out. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.stores.datasets import DatasetVersion
from studio.ui.difference import difference
from studio.ui.findings_view import reasons, step_title
from studio.ui.mapping import line_of, used
from studio.ui.markup import NOTHING, Markup, bar, join, link, muted, note
from studio.ui.roles import ROLES, format_name
from studio.ui.units import count

MEND = {"do": "mend", "kind": "broken_rows"}
MOST_PROBLEMS = 3


def reading(name: str, share: float, words: str) -> Markup:
    """A file that is being read: a bar, and how far it is."""
    title = Markup('<p class="ts-muted" aria-live="polite"><b>{}</b> {}</p>').format(name, words)
    return Markup('<div class="ts-reading">{}{}</div>').format(title, bar(share, f"Reading {name}"))


def problems(faults: Sequence[str]) -> Markup:
    """The first rows that can not be used, as sentences."""
    return join(note("warn", words) for words in faults[:MOST_PROBLEMS])


def unit_of(report: Mapping[str, Any]) -> str:
    """What a row of the file is called: "Row", "Line", "Paragraph"."""
    return str(report.get("unit") or ("Line" if report.get("container") == "jsonl" else "Row"))


def bad_count(report: Mapping[str, Any]) -> int:
    """How many rows can not be used as they are."""
    return sum(int(reason["count"]) for reason in report.get("reasons", []))


def bad_rows(report: Mapping[str, Any]) -> Markup:
    """Which rows of a file can not be used, why, and how many of them can be mended."""
    bad, mendable, unit = bad_count(report), int(report.get("mendable") or 0), unit_of(report)
    title = f"{bad:,} of {count(report.get('read', bad), unit.lower())} can not be used as it is"
    title = title if bad == 1 else title.removesuffix("it is") + "they are"
    mends = {0: ""}.get(mendable, f"{mendable:,} of them can be mended. " if mendable < bad else "All can be mended. ")
    if bad == mendable == 1:
        mends = "It can be mended. "
    about = "You see each change afterwards, and can undo it." if mendable else "Nothing else is left out."
    return note("warn", title, mends + about, reasons(report, unit))


def mend_words(mendable: int) -> str:
    """The button that mends."""
    return f"Mend {count(mendable, 'row')} and go on"


def without_words(report: Mapping[str, Any]) -> str:
    """The button that goes on without them."""
    return f"Use it without {count(bad_count(report), 'row')}"


def welcome(version: DatasetVersion, change: str) -> Markup:
    """That the dataset is there, how it was understood, what became of its rows."""
    report = version.report
    held = f", {version.held_out:,} of them held out to check" if version.held_out else ""
    dropped = int(report.get("dropped", 0))
    left_out = f" {count(dropped, 'row')} left out." if dropped else ""
    text = f"{count(version.examples, 'example')}{held}.{left_out}"
    made = note("good", f"{version.name} is a dataset now", text, mended(report))
    return join([made, how_understood(report, version.mapping, change)])


def mended(report: Mapping[str, Any]) -> Markup:
    """What steps changed on the way, with the difference."""
    steps = [step for step in report.get("steps", []) if step.get("count")]
    unit = unit_of(report)
    item = Markup("<p><b>{}</b></p>{}")
    return join(item.format(f"{step_title(step)}.", difference(step.get("samples") or [], unit)) for step in steps)


def how_understood(report: Mapping[str, Any], mapping: Mapping[str, str], change: str) -> Markup:
    """ "Read as question and answer", what each column is for, and where to change that."""
    name = format_name(str(report.get("format", "")))
    if not name:
        return NOTHING
    words = Markup("Read as <b>{}</b>: {}. {}").format(name, report.get("words", ""), link("Change it", change))
    chosen = {role: mapping[role] for role in ROLES if mapping.get(role)}
    return join([muted(words), line_of(used(chosen))])
