"""The place on a page where slow work is told: a bar while it goes on, Cancel beside it, what came of it afterwards."""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from studio.shell.session import owner_of
from studio.ui.errands import ERRANDS, Work
from studio.ui.fields import told
from studio.ui.frame import QUIET
from studio.ui.intake_view import reading
from studio.ui.markup import NOTHING, html
from studio.ui.notices import note_of

Updates = dict[Any, Any]


class Working:
    """The components. Handlers give what `go` gives, with `outputs` among theirs."""

    def __init__(self) -> None:
        """Drawn where it is made, hidden."""
        self.words = html(visible=False)
        self.cancel = gr.Button("Cancel", size="sm", visible=False, elem_classes="ts-cancel")
        self.errand = gr.Textbox("", visible=False)

    @property
    def outputs(self) -> list[Any]:
        """What `go` changes."""
        return [self.words, self.cancel, self.errand]

    def wire(self) -> None:
        """What Cancel does."""

        def cancelled(errand: str, request: gr.Request) -> Any:
            ended = ERRANDS.cancel(errand, owner_of(request))
            return told(reading("", 0.0, "Cancelling…")) if ended else gr.skip()

        self.cancel.click(cancelled, self.errand, self.words, **QUIET)

    def go(
        self,
        owner: str,
        name: str,
        work: Work,
        came_to: Callable[[Any], Updates],
        first: Updates | None = None,
        failed: Updates | None = None,
    ) -> Iterator[Updates]:
        """The updates of `work` on `name`, from its start (`first`) to what it came to, or that it `failed`."""
        errand = ERRANDS.begin(owner)
        busy = {self.cancel: gr.update(visible=True), self.errand: errand.id}
        still: Updates = {self.cancel: gr.update(visible=False), self.errand: ""}
        yield (first or {}) | busy | {self.words: told(reading(name, 0.0, "is being read…"))}
        try:
            for moment in ERRANDS.run(errand, work):
                if moment.done:
                    yield still | {self.words: told(NOTHING)} | came_to(moment.result)
                else:
                    yield {self.words: told(reading(name, moment.share, moment.words))}
        except Exception as error:  # the door of a page: nothing may pass it unsaid
            if errand.silent.is_set():
                return
            yield still | {self.words: told(note_of(error))} | (failed or {})
