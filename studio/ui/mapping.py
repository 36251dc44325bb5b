"""What was understood of a file, and what its columns mean: values of the inspection in, words and updates out. Pure.

What the page has to remember of a dropped file stands as JSON in a hidden box of the tab. Forging it harms nobody: the
import reads the file again and checks every column.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from studio.core.errors import StudioError
from studio.core.use_cases.upload import Inspection
from studio.ui.markup import NOTHING, Markup, join, muted, note
from studio.ui.roles import LABELS, ROLES, SORTS, TAUGHT, VERBS, fitted, format_name, sort_of

NO_COLUMN = ""
MOST_SHOWN = 160
MOST_NAMED = 24


def seen_of(found: Inspection) -> dict[str, Any]:
    """What the page remembers of an inspected file."""
    first: Any = next(iter(found.facts.get("sample") or []), [])
    cells = [first.get(column, "") for column in found.columns] if isinstance(first, Mapping) else first
    return {
        "name": found.name,
        "format": found.facts.get("format", ""),
        "words": found.facts.get("words", ""),
        "columns": list(found.columns),
        "mapping": dict(found.mapping),
        "split": found.facts.get("split") or "",
        "odd": found.facts.get("odd") or {},
        "inner": found.facts.get("inner") or found.facts.get("container") or "",
        "first": [str(cell or "")[:MOST_SHOWN] for cell in cells],
    }


def seen_again(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the page remembers of a file that is a dataset already."""
    names = ("name", "format", "words", "columns", "mapping", "odd", "inner")
    inner = report.get("container", "")  # those of older studios
    return {
        "split": "",
        "first": [],
        "columns": [],
        "inner": inner,
        **{name: report[name] for name in names if name in report},
    }


def read_seen(text: Any) -> dict[str, Any]:
    """What `seen_of` put into the hidden box; empty where it is not that. Raises nothing: the tab may send anything."""
    try:
        found = json.loads(text or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def dropdowns(seen: Mapping[str, Any], sort: str, mapping: Mapping[str, str]) -> list[Any]:
    """The dropdown of each of `ROLES`: the file's real columns, with the guess chosen; hidden where a kind has none."""
    kind, odd = SORTS[sort], seen.get("odd", {})
    columns = [(f"{column} ({odd[column]})" if column in odd else column, column) for column in seen["columns"]]
    found = []
    for role in ROLES:
        choices = columns if role in kind.needed else [("None", NO_COLUMN), *columns]
        value = mapping.get(role) or (None if role in kind.needed else NO_COLUMN)
        found.append(gr.update(choices=choices, value=value, visible=role in kind.roles))
    return found


def switched(seen: Mapping[str, Any], sort: str, columns: Sequence[Any]) -> dict[str, str]:
    """The mapping when another kind is chosen; the file's own guess where it is of that kind."""
    guess = seen.get("mapping", {})
    if sort_of(guess) == sort:
        return dict(guess)
    now = {role: str(column) for role, column in zip(ROLES, columns, strict=True) if column}
    odd = seen.get("odd", {})
    return fitted(sort, guess | now, [column for column in seen.get("columns", []) if column not in odd])


def mapping_of(sort: Any, columns: Sequence[Any]) -> dict[str, str]:
    """The mapping as the import takes it. Raises `StudioError` where a column has to be chosen first."""
    kind = SORTS.get(str(sort))
    if kind is None:
        raise StudioError("It is not chosen what this file is.", "Choose it.", field="format")
    given = {role: str(column or "") for role, column in zip(ROLES, columns, strict=True) if role in kind.roles}
    for role in kind.needed:
        if not given[role]:
            words = f"No column is chosen for {LABELS[role]}."
            raise StudioError(words, "Choose the column that holds it.", field=role)
    return {role: column for role, column in given.items() if column}


def understood(seen: Mapping[str, Any]) -> Markup:
    """What the file is: "Question and answer. CSV, semicolons, UTF-8."."""
    parts = [f"{words}." for words in (format_name(str(seen.get("format", ""))), str(seen.get("words", ""))) if words]
    return Markup(" ").join(parts)


def odd_columns(seen: Mapping[str, Any]) -> Markup:
    """The columns that hold no words: "Column 'image' holds images; choose a text column."."""
    odd = seen.get("odd") or {}
    chosen = set((seen.get("mapping") or {}).values())
    words = [f"Column '{name}' {what}" + ("; choose a text column." if name in chosen else ".")
             for name, what in list(odd.items())[:MOST_NAMED]]  # fmt: skip
    return join(muted(one) for one in words)


def meaning_of(seen: Mapping[str, Any], mapping: Mapping[str, str]) -> Markup:
    """What each column of the file is for, by name, and how the first row reads."""
    chosen = {role: mapping[role] for role in ROLES if mapping.get(role)}
    return join([line_of([*used(chosen), *unused(seen, list(chosen.values()))]), first_row(seen, chosen)])


def used(chosen: Mapping[str, str]) -> list[Markup]:
    """What the chosen columns are for, the one that is learnt with its mark."""
    item, mark = Markup("<span><code{}>{}</code> {}</span>"), Markup(' class="learnt"')
    return [item.format(mark if role in TAUGHT else "", column, VERBS[role]) for role, column in chosen.items()]


def unused(seen: Mapping[str, Any], chosen: Sequence[str]) -> list[Markup]:
    """The column that says what is held out, and those that nothing is done with, each by name."""
    split = seen.get("split", "")
    left = [column for column in seen.get("columns", []) if column not in chosen and column != split]
    parts = [Markup("<span><code>{}</code> is not used</span>").format(column) for column in left[:MOST_NAMED]]
    if len(left) > MOST_NAMED:
        parts.append(Markup("<span>{} more are not used</span>").format(len(left) - MOST_NAMED))
    return [Markup("<span><code>{}</code> says what is held out</span>").format(split), *parts] if split else parts


def first_row(seen: Mapping[str, Any], chosen: Mapping[str, str]) -> Markup:
    """The first row by role, so that a wrong column is seen at once."""
    cells = dict(zip(seen.get("columns", []), seen.get("first", []), strict=False))
    pairs = [(LABELS[role], cells[column]) for role, column in chosen.items() if cells.get(column)]
    return join(muted(Markup("<b>{}</b> {}").format(f"{label} in the first row:", cell)) for label, cell in pairs)


def line_of(parts: Sequence[Markup]) -> Markup:
    """What the columns are for, side by side."""
    return Markup('<p class="ts-map">{}</p>').format(join(parts)) if parts else NOTHING


def greeting(seen: Mapping[str, Any], warnings: Sequence[str]) -> Markup:
    """That the file was read and as what, and what was noticed in it."""
    about = join([understood(seen), " Say what its columns mean."])
    name = Markup("{} was read").format(seen.get("name", ""))
    return join([note("plain", name, about), odd_columns(seen), *(muted(words) for words in warnings)])
