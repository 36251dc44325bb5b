"""The cards "What the model sees" and "How long the examples are": their components and their handlers."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from studio.core.catalog import STARTER_REPO
from studio.core.config import knobs
from studio.core.errors import NotFound
from studio.core.findings import of_counts
from studio.core.models import here
from studio.core.services import Services
from studio.core.starter import source
from studio.core.stores.datasets import DatasetVersion
from studio.shell.session import owner_of
from studio.ui.fields import Choice, whole
from studio.ui.markup import Markup, cardhead, html, join, muted
from studio.ui.sight import Sight
from studio.ui.tokens import histogram, in_numbers, token_view
from studio.ui.units import count

SEEN_TITLE = "What the model sees"
LENGTHS_TITLE = "How long the examples are"
NOT_HERE = (
    "The starter model is not on this machine yet: it is fetched with the first run. Then every token stands here."
)
COUNTING = "Counting tokens…"
WAYS = ["Tokens", "Text"]
LONGEST = next(int(knob.default) for knob in knobs() if knob.path == "training.max_length")
MOST, LEAST = 131072, 8


class ExampleCard:
    """One example as a model reads it, and how long all of them are."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        with gr.Column(elem_classes="ts-card"):
            self.caption = html(cardhead(SEEN_TITLE))
            self.model = Choice([], label="As which model reads it", interactive=True, visible=False)
            with gr.Row(elem_classes="ts-buttons ts-leaf"):
                self.view = gr.Radio(
                    WAYS, value=WAYS[0], label="View", show_label=False, container=False, elem_classes="ts-seg"
                )
                self.back, self.on = gr.Button("Previous", size="sm"), gr.Button("Next", size="sm")
                small: dict[str, Any] = {"precision": 0, "min_width": 80, "elem_classes": "ts-small"}
                self.number = gr.Number(1, label="Example", **small)
                self.longest = gr.Number(LONGEST, label="Cut at", **small)
            self.seen = html(muted(COUNTING))
            self.seen_words = html(visible=False)
        with gr.Column(elem_classes="ts-card"):
            self.lengths = html(join([cardhead(LENGTHS_TITLE), muted(COUNTING)]))
            self.lengths_words = html(visible=False)


class Reader:
    """What the cards show: values of the form in, updates out. Examples that were shown are kept for a while."""

    def __init__(self, services: Services) -> None:
        """`services` are the stores."""
        self.services = services
        self.sight = Sight(services)

    def see(self, request: gr.Request, version: str, model: Any, view: Any, number: Any, longest: Any) -> list[Any]:
        """The example with `number` (from 1) as the model reads it, and which one it is."""
        one = self.one(request, version)
        if one is None:
            return [gr.skip(), gr.skip(), gr.skip()]
        repo, total = str(model or STARTER_REPO), one.examples
        index = (whole(number) - 1) % total
        if not self._is_here(repo):
            return [str(self._caption(repo)), str(muted(NOT_HERE)), gr.skip()]
        seen = self.sight.example(one, repo, tokens_of(longest), index)
        where = muted(f"Example {index + 1:,} of {total:,}, row {seen['row']:,} of {file_of(one, seen)}")
        return [str(self._caption(repo)), str(join([where, token_view(seen, str(view))])), index + 1]

    def turn(self, by: int) -> Callable[..., list[Any]]:
        """A handler for the next example (`by` 1), or the one before (-1); the first follows the last."""

        def turned(request: gr.Request, version: str, model: Any, view: Any, number: Any, longest: Any) -> list[Any]:
            return self.see(request, version, model, view, whole(number) + by, longest)

        return turned

    def measure(self, request: gr.Request, version: str, model: Any, longest: Any) -> Any:
        """How long the examples are for this model."""
        one, repo = self.one(request, version), str(model or STARTER_REPO)
        if one is None:
            return gr.skip()
        if not self._is_here(repo):
            return str(join([cardhead(LENGTHS_TITLE), muted(NOT_HERE)]))
        most = tokens_of(longest)
        counts = self.sight.lengths(one, repo, most)
        cut = f"{count(counts['cut'])} would be cut" if counts["cut"] else "none would be cut"
        about = Markup('<span class="ts-muted">{:,} tokens on average, {}</span>').format(counts["average"], cut)
        numbers = in_numbers(counts, one.report.get("turns") or {})
        return str(join([cardhead(LENGTHS_TITLE, about), histogram(counts, most), numbers]))

    def findings(self, one: DatasetVersion, model: Any, longest: Any) -> list[dict[str, Any]]:
        """What the chosen model makes of the examples today. Raises `StudioError`."""
        repo, most = str(model or STARTER_REPO), tokens_of(longest)
        if not self._is_here(repo):
            return []
        return of_counts(self.sight.lengths(one, repo, most), self.sight.facts(repo, most))

    def one(self, request: gr.Request, version: str) -> DatasetVersion | None:
        """The version that the page shows; None where it is gone."""
        try:
            return self.services.datasets.version(version, owner_of(request)) if version else None
        except NotFound:
            return None

    def _is_here(self, repo: str) -> bool:
        return repo != STARTER_REPO or source(self.services.settings) is not None

    def _caption(self, repo: str) -> Markup:
        name = next((ref.name for ref in here(self.services.settings) if ref.repo == repo), "the starter model")
        return cardhead(SEEN_TITLE, Markup('<span class="ts-muted">Template of {}</span>').format(name))


def file_of(one: DatasetVersion, seen: dict[str, Any]) -> str:
    """Which file an example's row stands in; by name where there are several."""
    sources, place = one.report.get("sources") or [], int(seen.get("source") or 0)
    return str(sources[place].get("name", "")) if len(sources) > 1 and place < len(sources) else "the file"


def tokens_of(longest: Any) -> int:
    """Where examples are cut, within what a run takes."""
    return min(MOST, max(LEAST, whole(longest, LONGEST)))
