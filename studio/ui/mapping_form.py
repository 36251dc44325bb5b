"""What a file is and what its columns mean, as dropdowns of its real columns with the guess filled in."""

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.ui.fields import Choice
from studio.ui.frame import QUIET
from studio.ui.mapping import dropdowns, meaning_of, read_seen, switched
from studio.ui.markup import html
from studio.ui.roles import INFOS, LABELS, ROLES, SORTS, sort_of
from studio.ui.working import Updates

SORT_INFO = "How its rows are to be understood."


class MappingForm:
    """The components; `seen` is the hidden box with what the page remembers of the file."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        sorts = [(sort.words, name) for name, sort in SORTS.items()]
        with gr.Row(elem_classes="ts-fields"):
            self.sort = Choice(sorts, label="What it is", info=SORT_INFO, value="pair", interactive=True)
            self.roles: list[gr.Dropdown] = [
                Choice([], label=LABELS[role], info=INFOS[role], interactive=True, visible=False) for role in ROLES
            ]
        self.meaning = html()
        self.seen = gr.Textbox("", visible=False)

    @property
    def inputs(self) -> list[Any]:
        """What handlers take of it: the file as it is remembered, its kind, the column of each role."""
        return [self.seen, self.sort, *self.roles]

    @property
    def outputs(self) -> list[Any]:
        """What `filled` changes."""
        return [self.seen, self.sort, self.meaning, *self.roles]

    def filled(self, seen: Mapping[str, Any], mapping: Mapping[str, str]) -> Updates:
        """The form for a file, with a mapping chosen."""
        sort = sort_of(mapping)
        drawn = dict(zip(self.roles, dropdowns(seen, sort, mapping), strict=True))
        meaning = {self.meaning: str(meaning_of(seen, mapping))}
        return {self.seen: json.dumps(seen), self.sort: sort, **meaning, **drawn}

    def wire(self) -> None:
        """Another kind shows other dropdowns; each choice says what it means."""
        self.sort.input(sorted_, self.inputs, [*self.roles, self.meaning], **QUIET)
        gr.on([role.input for role in self.roles], mapped, self.inputs, self.meaning, **QUIET)


def sorted_(seen: str, sort: Any, *columns: Any) -> list[Any]:
    """The dropdowns of another kind."""
    known, kind = {"columns": [], **read_seen(seen)}, str(sort) if str(sort) in SORTS else "pair"
    mapping = switched(known, kind, columns)
    return [*dropdowns(known, kind, mapping), str(meaning_of(known, mapping))]


def mapped(seen: str, sort: Any, *columns: Any) -> str:
    """What the columns mean now."""
    return str(meaning_of(read_seen(seen), mapping_now(sort, columns)))


def mapping_now(sort: Any, columns: Any) -> dict[str, str]:
    """The columns as they are chosen now, checked by nobody yet."""
    kind = SORTS.get(str(sort), SORTS["pair"])
    return {role: str(column) for role, column in zip(ROLES, columns, strict=True) if column and role in kind.roles}
