"""What rows of datasets say on a page: the list, the title of one, how its file was read."""

from collections.abc import Sequence
from typing import Any

from studio.core.stores.datasets import DatasetVersion
from studio.ui.findings_view import reasons
from studio.ui.going import address
from studio.ui.intake_view import bad_count, unit_of
from studio.ui.markup import (
    NOTHING,
    Markup,
    Text,
    cardhead,
    empty,
    facts,
    head,
    join,
    link,
    link_button,
    more,
    muted,
    note,
    when,
)  # fmt: skip
from studio.ui.roles import LABELS, format_name
from studio.ui.units import count, file_size

MOST_NAMED = 8
KINDS = "CSV, JSON, JSONL, Parquet, Excel or text, packed or not"


def listing(datasets: Sequence[DatasetVersion]) -> Markup:
    """All datasets of a person, each a link; or what to do where there is none."""
    if not datasets:
        return empty("No datasets yet", "Drop a file above: a table, chats or plain text. The demo run brings one too.")
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


def title_of(one: DatasetVersion, newest: DatasetVersion) -> Markup:
    """The head of one dataset's page; an older version says so."""
    held = f", {one.held_out:,} of them held out to check" if one.held_out else ""
    dropped = int(one.report.get("dropped", 0))
    left = f", {count(dropped, 'row')} left out" if dropped else ""
    text = Markup("{}{}{}.").format(count(one.examples, "example"), held, left)
    if one.id != newest.id:
        there = link("Go to the newest", address("/datasets", id=one.dataset_id))
        text = Markup("{} This is version {:,}. {}").format(text, one.number, there)
    go = link_button("Train on it", address("/new", dataset=one.dataset_id if one.id == newest.id else one.id), True)
    return head(one.name, text, go, "Datasets")


def how_read(one: DatasetVersion, size: int) -> Markup:
    """The card about the file: format, what each column is for, what was left out and why; `size` are its bytes."""
    report, code = one.report, Markup("<code>{}</code>")
    pairs: list[tuple[Text, Text]] = []
    if format_name(str(report.get("format", ""))):
        pairs.append(("What it is", format_name(str(report["format"]))))
    pairs.append(("Format", format_words(one)))
    pairs += [(LABELS[role], code.format(one.mapping[role])) for role in LABELS if one.mapping.get(role)]
    unused = list(report.get("unused", []))
    if unused:
        names = unused[:MOST_NAMED] + ([f"and {len(unused) - MOST_NAMED} more"] if len(unused) > MOST_NAMED else [])
        pairs.append(("Not used", Markup(", ").join(code.format(name) for name in names)))
    pairs += [("Rows read", count(report[key])) for key in ("read",) if key in report]
    pairs += [("Kept", count(one.examples)), ("Left out", count(report.get("dropped", 0)))]
    pairs += origin_of(report)
    if size:
        pairs.append(("On the disk", file_size(size)))
    pairs.append(("Version", Markup("{}, {}").format(one.number, when(one.created_at))))
    parts = [cardhead("How it was read"), facts(pairs, "ts-facts--rows"), sources_of(report), left_out(report)]
    return join([*parts, odd(report)])


def origin_of(report: dict[str, Any]) -> list[tuple[Text, Text]]:
    """Where a dataset of the Hub came from."""
    origin = report.get("origin") or {}
    if not origin.get("repo"):
        return []
    from_hub = [("From the Hub", origin["repo"]), ("At", str(origin.get("commit", ""))[:12])]
    named = [("Licence", origin.get("licence")), ("Config", origin.get("config")), ("Split", origin.get("split"))]
    return [*from_hub, *((name, str(value)) for name, value in named if value)]


def sources_of(report: dict[str, Any]) -> Markup:
    """What a dataset of several files or datasets was made of."""
    sources = report.get("sources", [])
    if len(sources) < 2:
        return NOTHING
    item = Markup("<li><b>{}</b> <small>{}</small></li>")
    return Markup('<ul class="ts-sources">{}</ul>').format(
        join(item.format(one.get("name", ""), source_words(one)) for one in sources)
    )


def source_words(one: dict[str, Any]) -> str:
    """ "held out to check, 40 rows", "weight 0.5, at most 100 taken"."""
    parts = ["held out to check"] if one.get("split") == "eval" else []
    if one.get("kind") == "version":
        parts.append(f"weight {float(one.get('weight') or 1):g}")
    if one.get("cap"):
        parts.append(f"at most {int(one['cap']):,} taken")
    if one.get("read") is not None:
        parts.append(count(int(one["read"]), "row"))
    return ", ".join(parts)


def left_out(report: dict[str, Any]) -> Markup:
    """Why rows were left out, with their numbers: the first three reasons, the rest to unfold."""
    bad, unit = bad_count(report), unit_of(report)
    if not bad:
        return NOTHING
    known = list(report.get("reasons", []))
    rest = reasons({"reasons": known[3:]}, unit)
    more_reasons = more(f"{count(len(known) - 3, 'more reason')}", rest) if len(known) > 3 else NOTHING
    return note(
        "warn", f"{count(bad, unit.lower())} left out", "", reasons({"reasons": known[:3]}, unit) + more_reasons
    )


def odd(report: dict[str, Any]) -> Markup:
    """What else was noticed in the file."""
    columns = [f"Column '{name}' {words}." for name, words in (report.get("odd") or {}).items()]
    return join(muted(words) for words in [*report.get("warnings", []), *columns[:MOST_NAMED]])
