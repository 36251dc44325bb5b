"""Several datasets mixed into a new one: which, how often each is taken, how many at most."""

import re
from collections.abc import Sequence
from typing import Any

import gradio as gr

from studio.core.errors import Refused
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases import versions
from studio.shell.session import owner_of
from studio.ui.fields import Choice, told, whole
from studio.ui.frame import QUIET
from studio.ui.going import go_to
from studio.ui.markup import Markup, html, muted
from studio.ui.notices import note_of
from studio.ui.units import count

MOST_PARTS = 5
FIRST_SHOWN = 2
ABOUT = "A weight of 2 takes each example twice, 0.5 half of them. The datasets stay as they are."


class MixCard:
    """The components, folded away."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        with gr.Accordion("Mix several datasets", open=False, elem_classes="ts-drawer", visible=False) as self.box:
            html(muted(ABOUT))
            self.parts: list[tuple[Any, Any, Any]] = []
            self.rows: list[gr.Row] = []
            for place in range(MOST_PARTS):
                with gr.Row(elem_classes="ts-mixrow", visible=place < FIRST_SHOWN) as row:
                    which = Choice([], label=f"Dataset {place + 1}", interactive=True, scale=3, min_width=200)
                    weight = gr.Number(1, label="Weight", scale=1, min_width=96)
                    most = gr.Textbox(label="At most", placeholder="All", max_lines=1, scale=1, min_width=96)
                self.parts.append((which, weight, most))
                self.rows.append(row)
            self.another = gr.Button("Another one", size="sm", elem_classes="ts-cancel")
            with gr.Row(elem_classes="ts-mixrow"):
                self.name = gr.Textbox("Mix", label="Name", max_lines=1, scale=3, min_width=200)
                self.seed = gr.Number(0, label="Seed", precision=0, scale=1, min_width=96)
            self.mix = gr.Button("Mix them", size="md", elem_classes="ts-cancel")
            self.said, self.going, self.shown = html(visible=False), html(visible=False), gr.Number(2, visible=False)

    @property
    def outputs(self) -> list[Any]:
        """What `drawn` changes."""
        return [self.box, *(which for which, _, _ in self.parts)]

    def drawn(self, datasets: Sequence[DatasetVersion]) -> dict[Any, Any]:
        """The choices; hidden where there is nothing to mix."""
        choices = [("None", ""), *((f"{one.name} ({count(one.examples, 'example')})", one.id) for one in datasets)]
        chosen = {which: gr.update(choices=choices, value="") for which, _, _ in self.parts}
        return {self.box: gr.update(visible=len(datasets) > 1), **chosen}

    def wire(self, services: Services) -> None:
        """What its buttons do."""

        def another(shown: Any) -> list[Any]:
            now = min(MOST_PARTS, whole(shown, FIRST_SHOWN) + 1)
            rows = [gr.update(visible=place < now) for place in range(MOST_PARTS)]
            return [now, gr.update(visible=now < MOST_PARTS), *rows]

        def mixed(request: gr.Request, name: Any, seed: Any, *values: Any) -> list[Any]:
            try:
                one = versions.mix(services, owner_of(request), parts_of(values), str(name or ""), whole(seed, 0))
            except Exception as error:  # the door of a page: nothing may pass it unsaid
                return [told(note_of(error)), gr.skip()]
            return [told(""), told(go_to("/datasets", id=one.dataset_id))]

        self.another.click(another, self.shown, [self.shown, self.another, *self.rows], **QUIET)
        inputs = [self.name, self.seed, *(part for row in self.parts for part in row)]
        busy = self.mix.click(lambda: told(Markup("<p>Mixing…</p>")), None, self.said, **QUIET)
        busy.then(mixed, inputs, [self.said, self.going], **QUIET)


def most_of(text: Any) -> int | None:
    """How many examples are taken at most; None where all may be. Raises `Refused` where it is no number."""
    written = re.sub(r"[\s,._']", "", str(text or ""))
    if not written:
        return None
    if not written.isascii() or not written.isdigit() or len(written) > 12:
        raise Refused(f"The most that are taken can not be {str(text)[:40]!r}.", "Write a number, or nothing for all.")
    return int(written)


def parts_of(values: Sequence[Any]) -> list[tuple[str, float, int | None]]:
    """The chosen datasets as the use case takes them. Raises `Refused` for a weight or a number that is none."""
    parts = []
    for which, weight, most in zip(values[::3], values[1::3], values[2::3], strict=True):
        if not which:
            continue
        if not isinstance(weight, int | float):
            raise Refused("A weight is empty.", "The usual weight is 1.", field="weight")
        parts.append((str(which), float(weight), most_of(most)))
    return parts
