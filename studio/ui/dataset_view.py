"""What rows of datasets say on a page: the list, the title of one, how its file was read."""

from collections.abc import Sequence
from typing import Any

from studio.core.stores.datasets import DatasetVersion
from studio.ui.going import address
from studio.ui.mapping import LABELS
from studio.ui.markup import (
    NOTHING,
    Markup,
    Text,
    cardhead,
    empty,
    facts,
    head,
    join,
    link_button,
    muted,
    note,
    when,
)  # fmt: skip
from studio.ui.units import count, file_size

MOST_NAMED = 8
UNITS = {"jsonl": "line"}


def listing(datasets: Sequence[DatasetVersion]) -> Markup:
    """All datasets of a person, each a link; or what to do where there is none."""
    if not datasets:
        return empty("No datasets yet", "Drop a CSV, JSONL or JSON file above. The demo run brings one too.")
    row = Markup('<li><a href="{}"><b>{}</b><span>{}</span><span>{}</span>{}</a></li>')
    rows = join(
        row.format(
            address("/datasets", id=one.dataset_id), one.name, size_words(one), format_words(one), when(one.created_at)
        )
        for one in datasets
    )
    return join([cardhead("Your datasets"), Markup('<ul class="ts-list">{}</ul>').format(rows)])


def size_words(one: DatasetVersion) -> str:
    """ "480 examples, 96 held out"."""
    held = f", {one.held_out:,} held out" if one.held_out else ""
    return count(one.examples, "example") + held


def format_words(one: DatasetVersion) -> str:
    """How the file is written: "CSV, commas, UTF-8"."""
    return str(one.report.get("words") or str(one.report.get("container", "")).upper()).strip() or "File"


def title_of(one: DatasetVersion) -> Markup:
    """The head of one dataset's page."""
    held = f", {one.held_out:,} of them held out to check" if one.held_out else ""
    dropped = one.report.get("dropped", 0)
    left = f", {count(dropped, 'row')} left out" if dropped else ""
    text = f"{count(one.examples, 'example')}{held}{left}."
    go = link_button("Train on it", address("/new", dataset=one.dataset_id), plain=True)
    return head(one.name, text, go, "Datasets")


def how_read(one: DatasetVersion, size: int) -> Markup:
    """The card about the file: format, what each column is for, what was left out and why; `size` are its bytes."""
    report, code = one.report, Markup("<code>{}</code>")
    pairs: list[tuple[Text, Text]] = [("Format", format_words(one))]
    if one.mapping.get("messages"):
        pairs.append(("Chats", code.format(one.mapping["messages"])))
    pairs += [(LABELS[role], code.format(one.mapping[role])) for role in LABELS if one.mapping.get(role)]
    unused = report.get("unused", [])
    if unused:
        names = unused[:MOST_NAMED] + ([f"and {len(unused) - MOST_NAMED} more"] if len(unused) > MOST_NAMED else [])
        pairs.append(("Not used", Markup(", ").join(code.format(name) for name in names)))
    pairs += [("Rows read", count(report[key])) for key in ("read",) if key in report]
    pairs += [("Kept", count(one.examples)), ("Left out", count(report.get("dropped", 0)))]
    if size:
        pairs.append(("On the disk", file_size(size)))
    pairs.append(("Version", Markup("{}, {}").format(one.number, when(one.created_at))))
    return join([cardhead("How it was read"), facts(pairs, "ts-facts--rows"), left_out(report), odd(report)])


def left_out(report: dict[str, Any]) -> Markup:
    """Why rows were left out, with their numbers."""
    unit = UNITS.get(str(report.get("container")), "row")
    notes = []
    for reason in report.get("reasons", []):
        rows = ", ".join(f"{row:,}" for row in reason["rows"][:MOST_NAMED])
        more = reason["count"] - min(MOST_NAMED, len(reason["rows"]))
        named = f"{'' if reason['count'] == 1 else 's'} {rows}" + (f" and {more:,} more" if more > 0 else "")
        notes.append(
            note("warn", f"{count(reason['count'], unit)} left out", f"{reason['first']} {unit.capitalize()}{named}.")
        )
    return join(notes)


def odd(report: dict[str, Any]) -> Markup:
    """What else was noticed in the file."""
    warnings = report.get("warnings", [])
    return join(muted(words) for words in warnings) if warnings else NOTHING
