"""The playground's parts: up to three panes, the vote beneath them, the question with its drawers, what is kept."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.ui.answer_form import AnswerForm
from studio.ui.chat_view import MOST_PANES, MOST_PROMPTS, NOT_ASKED, PANE_NAMES, speed
from studio.ui.fields import Choice, Pick
from studio.ui.markup import NOTHING, cardhead, html, muted

PLACES = range(MOST_PANES)


@dataclass(frozen=True)
class PaneParts:
    """One model's side: who answers, the talk, how fast it was, what can be done with the answer."""

    column: gr.Column
    head: gr.HTML
    talk: gr.HTML
    speed: gr.HTML
    edit: gr.Button
    more: gr.Button


class Room:
    """The components of the page."""

    def __init__(self) -> None:
        """Drawn where it is made."""
        hidden = [gr.Textbox("", visible=False) for _ in range(6)]
        self.tab, self.home, self.chat, self.place, self.auto, self.editing = hidden
        self.nothing, self.fault = html(visible=False), html(visible=False)
        with gr.Column(visible=False, elem_classes="ts-stack") as self.box:
            with gr.Row(elem_classes="ts-panes"):
                self.panes = [self.pane() for _ in PLACES]
            self.judge_row()
            self.editor()
            self.ask_card()
            with gr.Row(elem_classes="ts-split ts-kept"):
                self.votes_card()
                self.chats_card()

    @property
    def names(self) -> list[Any]:
        """The inputs that say who sits where."""
        return [self.home, self.count, *self.who]

    @property
    def talks(self) -> list[gr.HTML]:
        """The talks of all panes."""
        return [pane.talk for pane in self.panes]

    @property
    def speeds(self) -> list[gr.HTML]:
        """The lines beneath them."""
        return [pane.speed for pane in self.panes]

    @staticmethod
    def pane() -> PaneParts:
        """One pane, empty."""
        with gr.Column(elem_classes="ts-card ts-pane", min_width=300, visible=False) as column:
            head, talk = html(cardhead("")), html(NOTHING, "ts-chat")
            with gr.Row(elem_classes="ts-buttons ts-under-pane"):
                line = html(speed(NOT_ASKED))
                more = gr.Button("Continue", size="sm", visible=False)
                edit = gr.Button("Edit", size="sm", visible=False)
        return PaneParts(column, head, talk, line, edit, more)

    def judge_row(self) -> None:
        """The reference answer, which question is meant, and the vote."""
        self.reference = html(visible=False)
        with gr.Row(elem_classes="ts-buttons ts-vote", visible=False) as self.vote_row:
            self.turn = Choice([], label="About the question", interactive=True, visible=False)
            self.verdict = html()
            first, alike, second, third, all_alike = (gr.Button("", size="sm", visible=False) for _ in range(5))
        self.best, self.alike = [first, second, third], [alike, all_alike]

    def editor(self) -> None:
        """Where an answer is written anew."""
        with gr.Column(elem_classes="ts-card", visible=False) as self.edit_box:
            self.edit_head = html()
            self.edited = gr.Textbox(
                label="The answer as it should be", lines=4, max_lines=16,
                info="It takes the answer's place in this chat, and is kept as an example to learn from.",
            )  # fmt: skip
            with gr.Row(elem_classes="ts-buttons"):
                self.save = gr.Button("Keep my version", variant="primary", size="md")
                self.original = gr.Button("Back to the model's", size="md")
                self.leave = gr.Button("Cancel", size="md")

    def ask_card(self) -> None:
        """The question, its buttons, and the drawers."""
        with gr.Column(elem_classes="ts-card"):
            self.ask = gr.Textbox(label="Ask", placeholder="Ask what your examples ask", lines=2, max_lines=6)
            with gr.Row(elem_classes="ts-buttons"):
                self.send, self.stop = gr.Button("Send", variant="primary", size="md"), gr.Button("Stop", size="md")
                self.again = gr.Button("Ask again", size="md")
                self.change = gr.Button("Edit question", size="md")
                self.unchanged = gr.Button("Leave the question as it was", size="md", visible=False)
                self.clear = gr.Button("Clear", size="md")
                html(muted("Shift + Enter sends."), "ts-hint")
            self.words = html(visible=False)
            self.held = html(visible=False)
            with gr.Row(elem_classes="ts-buttons"):
                self.prompts = [gr.Button("", size="sm", visible=False) for _ in range(MOST_PROMPTS)]
            with gr.Accordion("Who answers", open=False, elem_classes="ts-drawer"):
                self.count = Pick(
                    [("One", "1"), ("Two", "2"), ("Three", "3")], value="2", label="Panes", elem_classes="ts-seg"
                )
                with gr.Row(elem_classes="ts-fields"):
                    self.who = [Choice([], label=words, interactive=True, visible=False) for words in PANE_NAMES]
                self.bases = Choice([], label="Trained on", info="Who answers together came from one base model.",
                                    interactive=True, visible=False)  # fmt: skip
            with gr.Accordion("How they answer", open=False, elem_classes="ts-drawer"):
                self.form = AnswerForm()
            with gr.Accordion("What they read", open=False, elem_classes="ts-drawer"):
                html(muted("The exact prompt of the question above, or of the last one, as each model gets it."))
                with gr.Row(elem_classes="ts-buttons"):
                    self.look = gr.Button("Show the exact prompt", size="sm")
                self.read = html(visible=False)

    def votes_card(self) -> None:
        """What the votes and edits come to, and what can be made of them."""
        with gr.Column(elem_classes="ts-card", min_width=280):
            self.tally = html(cardhead("Your votes"))
            with gr.Column(visible=False) as self.making:
                self.kind = Pick([], label="Examples", elem_classes="ts-choice")
                self.target = Choice([], label="Goes into", interactive=True)
                with gr.Row(elem_classes="ts-buttons"):
                    self.make = gr.Button("Make the dataset", size="md")
            self.made = html(visible=False)

    def chats_card(self) -> None:
        """Earlier chats."""
        with gr.Column(elem_classes="ts-card", min_width=280):
            html(cardhead("Earlier chats"))
            self.earlier = html()
            self.links = html()
            with gr.Row(elem_classes="ts-buttons"):
                self.delete = gr.Button("Delete this chat", size="sm", visible=False)
                self.sure = gr.Button("Delete it for good", variant="stop", size="sm", visible=False)
                self.spare = gr.Button("Keep it", size="sm", visible=False)
