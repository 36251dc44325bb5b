"""How a file is to be read where the studio took it wrong: what parts its columns, its encoding, what an example is."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from studio.ui.fields import Choice
from studio.ui.mapping import read_seen
from studio.ui.markup import html, muted
from studio.ui.working import Updates

TITLE = "Read it differently"
ITSELF = ("Found by itself", "")
CHOICES: dict[str, list[tuple[str, str]]] = {
    "delimiter": [ITSELF, ("Comma", ","), ("Semicolon", ";"), ("Tab", "\t"), ("Bar", "|")],
    "encoding": [
        ITSELF, ("UTF-8", "utf-8"), ("Windows-1252", "cp1252"), ("UTF-16", "utf-16"), ("Latin-1", "latin-1"),
        ("Windows-1250, Central European", "cp1250"), ("Windows-1251, Cyrillic", "cp1251"),
        ("Shift JIS, Japanese", "shift_jis"), ("GB 18030, Chinese", "gb18030"), ("EUC-KR, Korean", "euc_kr"),
    ],
    "text_as": [("A paragraph", ""), ("The whole file", "whole")],
}  # fmt: skip
LABELS = {"delimiter": "Between columns stands", "encoding": "Encoding", "text_as": "Each example is"}
APPLIES = {
    "csv": ("delimiter", "encoding"), "tsv": ("delimiter", "encoding"), "txt": ("text_as", "encoding"),
    "json": ("encoding",), "jsonl": ("encoding",),
}  # fmt: skip


class ReadingForm:
    """The components, folded away. `seen` is the hidden box with what the page remembers of the file."""

    def __init__(self, seen: gr.Textbox, about: str = "") -> None:
        """Drawn where it is made, hidden; `about` says what comes of it."""
        self.seen = seen
        with gr.Accordion(TITLE, open=False, visible=False, elem_classes="ts-drawer") as self.box:
            if about:
                html(muted(about))
            with gr.Row(elem_classes="ts-fields"):
                self.wishes = {
                    name: Choice(choices, label=LABELS[name], value="", interactive=True)
                    for name, choices in CHOICES.items()
                }
            self.again = gr.Button("Read it again", size="sm", elem_classes="ts-cancel")

    @property
    def inputs(self) -> list[Any]:
        """What handlers take of it, see `reading_of`."""
        return [self.seen, *self.wishes.values()]

    @property
    def outputs(self) -> list[Any]:
        """What its updates change."""
        return [self.box, *self.wishes.values()]

    def shown(self, seen: Mapping[str, Any]) -> Updates:
        """The form for a file: only what its kind has, as it was chosen before; hidden where there is nothing."""
        names = applying(seen)
        fields = {field: gr.update(visible=name in names) for name, field in self.wishes.items()}
        return {self.box: gr.update(visible=bool(names)), **fields}

    def filled(self, seen: Mapping[str, Any], reading: Mapping[str, str]) -> Updates:
        """The form for a file that was read with these wishes; it stays open where it was."""
        names = applying(seen)
        values = {name: known(name, reading.get(name)) for name in self.wishes}
        fields = {field: gr.update(visible=name in names, value=values[name]) for name, field in self.wishes.items()}
        return {self.box: gr.update(visible=bool(names)), **fields}

    def hidden(self) -> Updates:
        """No file is there."""
        return {self.box: gr.update(visible=False)}

    def fresh(self) -> Updates:
        """Another file: hidden until it is known, nothing chosen."""
        return {self.box: gr.update(visible=False, open=False), **dict.fromkeys(self.wishes.values(), "")}


def applying(seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Which wishes a file has, by what it is inside; none where its kind leaves nothing to choose."""
    return APPLIES.get(str(seen.get("inner", "")), ())


def reading_of(seen: Any, *values: Any) -> dict[str, str]:
    """The wishes as they are chosen, of those that the file has; the tab may send anything else: it is left out."""
    names = applying(read_seen(seen))
    chosen = {name: known(name, value) for name, value in zip(CHOICES, values, strict=True) if name in names}
    return {name: value for name, value in chosen.items() if value}


def known(name: str, value: Any) -> str:
    """A value that can be chosen; empty for any other."""
    return value if isinstance(value, str) and value in [one for _, one in CHOICES[name]] else ""
