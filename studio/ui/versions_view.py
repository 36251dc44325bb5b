"""The versions of a dataset: what each one is, what changed in it, which runs learnt from it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.core.stores.datasets import DatasetVersion
from studio.ui.findings_view import step_title
from studio.ui.going import address
from studio.ui.markup import NOTHING, Markup, cardhead, join, link, when
from studio.ui.units import count

MOST_SHOWN = 12
MOST_RUNS = 4
User = tuple[str, str, str, str]  # a run: its id, name, state, and the version that it learnt from


def place(one: DatasetVersion) -> str:
    """The address of this very version."""
    return address("/datasets", id=one.dataset_id, version=one.id)


def versions_card(versions: Sequence[DatasetVersion], shown: DatasetVersion, users: Iterable[User]) -> Markup:
    """The newest first; the one that is shown is marked."""
    runs = list(users)
    after = [*versions[1:], None]
    rows = [version_row(one, old, shown.id, runs) for one, old in zip(versions, after, strict=True)]
    more = len(rows) - MOST_SHOWN
    left = Markup('<p class="ts-muted">and {:,} older ones</p>').format(more) if more > 0 else NOTHING
    shown_rows = Markup('<ol class="ts-versions">{}</ol>').format(join(rows[:MOST_SHOWN]))
    return join([cardhead("Versions"), shown_rows, left])


def version_row(one: DatasetVersion, before: DatasetVersion | None, shown_id: str, runs: Sequence[User]) -> Markup:
    """One version: number and time, what changed, its runs."""
    current = Markup(' aria-current="page"') if one.id == shown_id else NOTHING
    name = Markup('<a href="{}"{}>Version {:,}</a> <span>{}, {}</span>').format(
        place(one), current, one.number, when(one.created_at), count(one.examples, "example")
    )
    parts = [part for part in (changes(one, before), runs_of(one, runs)) if part]
    return Markup("<li>{}{}</li>").format(name, join(Markup("<p>{}</p>").format(part) for part in parts))


def changes(one: DatasetVersion, before: DatasetVersion | None) -> Markup:
    """What was done since the version before it, and how many examples came and went."""
    said = [] if before is None else [f"{words}." for words in deeds(one, before)]
    difference = one.report.get("difference") or {}
    return Markup(" ").join([*said, *([moved(difference)] if difference and before else [])])


def deeds(one: DatasetVersion, before: DatasetVersion) -> list[str]:
    """The steps that were added or taken back, a new file, another mapping."""
    new, old = _steps(one), _steps(before)
    done = [step_title(step) for key, step in new.items() if key not in old]
    done += [f"Undone: {_lower(step_title(step))}" for key, step in old.items() if key not in new]
    if one.sha256 != before.sha256:
        checked = any(source.get("split") == "eval" for source in one.report.get("sources", []))
        done.insert(0, "A file of its own to check with" if checked else f"A newer file, {one.file_name}")
    if {k: v for k, v in one.mapping.items() if v} != {k: v for k, v in before.mapping.items() if v}:
        done.append("Its columns mean something else")
    return done


def moved(difference: Mapping[str, Any]) -> str:
    """ "3 new, 12 gone, 468 the same."."""
    names = (("added", "new"), ("gone", "gone"), ("same", "the same"))
    return ", ".join(f"{int(difference[key]):,} {word}" for key, word in names if difference.get(key)) + "."


def runs_of(one: DatasetVersion, runs: Sequence[User]) -> Markup:
    """The runs that learn or learnt from it, each a link."""
    mine = [(run_id, name) for run_id, name, _, version_id in runs if version_id == one.id]
    if not mine:
        return NOTHING
    links = Markup(", ").join(link(name, address("/run", id=run_id)) for run_id, name in mine[:MOST_RUNS])
    more = Markup(" and {:,} more").format(len(mine) - MOST_RUNS) if len(mine) > MOST_RUNS else NOTHING
    return Markup("Used by {}{}").format(links, more)


def _steps(one: DatasetVersion) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(str(step.get("do")), str(step.get("kind"))): step for step in one.report.get("steps", [])}


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
