"""What was said, as a person can read it: a model's thinking folds, a tool call is a card, all text is escaped.

`pieces` takes an answer apart by the marks that models write into it; it loses no letter that is not a mark.
"""

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studio.core.calls import call_in
from studio.core.stores.chats import Said, Turn
from studio.ui.markup import NOTHING, Markup, Text, join

Kind = Literal["text", "thinking", "call", "result"]
_KINDS: dict[str, Kind] = {
    "think": "thinking", "thinking": "thinking", "tool_call": "call", "tool_response": "result",
}  # fmt: skip
_OPENS = re.compile(r"<(think|thinking|tool_call|tool_response)>")
_THOUGHT_ENDS = re.compile(r"\A(.*?)</think>", re.DOTALL)
EDITED = Markup('<p class="ts-edited">Edited by you</p>')


@dataclass(frozen=True)
class Piece:
    """A part of an answer. `whole` is false while its end has not been said yet."""

    kind: Kind
    text: str
    whole: bool = True


def pieces(answer: str) -> list[Piece]:
    """The parts of an answer in their order, without the marks around them; empty ones are left out."""
    found: list[Piece] = []
    place = 0
    first = _THOUGHT_ENDS.match(answer)
    if first is not None and "<think>" not in first.group(1):  # the template has opened it in the prompt
        found.append(Piece("thinking", first.group(1).strip("\n")))
        place = first.end()
    while (opens := _OPENS.search(answer, place)) is not None:
        found.append(Piece("text", answer[place : opens.start()].strip("\n")))
        mark = f"</{opens.group(1)}>"
        end = answer.find(mark, opens.end())
        inner = answer[opens.end() : end if end >= 0 else len(answer)]
        found.append(Piece(_KINDS[opens.group(1)], inner.strip("\n"), end >= 0))
        place = end + len(mark) if end >= 0 else len(answer)
    rest = answer[place:]
    found.append(Piece("text", rest.strip("\n") if found else rest))
    return [one for one in found if one.text.strip()]


def drawn_answer(answer: str) -> Markup:
    """An answer as markup."""
    return join(_drawn(piece) for piece in pieces(answer))


def _drawn(piece: Piece) -> Markup:
    if piece.kind == "text":
        return Markup('<div class="ts-said">{}</div>').format(piece.text)
    if piece.kind == "thinking":
        if not piece.whole:
            return Markup('<div class="ts-think"><b>Thinking…</b><div>{}</div></div>').format(piece.text)
        words = len(piece.text.split())
        title = f"Thought first ({words:,} word{'' if words == 1 else 's'})"
        return Markup(
            '<div class="ts-more ts-think"><label><input type="checkbox">{}</label><div>{}</div></div>'
        ).format(title, piece.text)
    return tool_card(piece)


def tool_card(piece: Piece) -> Markup:
    """A call of a tool: its name, then each argument; as it was written where that is no call."""
    name, inner = ("Tool's answer", pretty(piece.text)) if piece.kind == "result" else call_of(piece.text)
    return Markup('<div class="ts-tool"><b>{}</b>{}</div>').format(name, inner)


def call_of(text: str) -> tuple[Text, Markup]:
    """The title and the arguments of a call as models write it: {"name": ..., "arguments": {...}}."""
    call = call_in(text)
    if call is None:
        return "Calls a tool", pretty(text)
    name, arguments = call
    rows = join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(
            key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
        for key, value in arguments.items()
    )
    title = Markup("Calls <code>{}</code>").format(name)
    return title, Markup("<dl>{}</dl>").format(rows) if rows else NOTHING


def pretty(text: str) -> Markup:
    """JSON with its lines; other text as it is."""
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return Markup("<pre>{}</pre>").format(text)


def copy_button(text: str, words: str = "Copy", name: str = "Copy the answer") -> Markup:
    """A button that puts `text` on the clipboard; the page's own script does it."""
    return Markup(
        '<button type="button" class="ts-copy" data-ts-copy="{}" aria-label="{}" title="{}">{}</button>'
    ).format(text, name, name, words)


def asked_line(question: str) -> Markup:
    """A question in a pane."""
    return Markup('<div class="ts-asked"><span class="ts-hidden">You: </span>{}</div>').format(question)


def told_line(answer: Markup, more: Text = "") -> Markup:
    """An answer in a pane, and what stands beneath it."""
    return Markup('<div class="ts-told">{}{}</div>').format(answer, more)


def drawn_turn(asked: str, said: Said | None) -> Markup:
    """A turn of one pane as it is kept."""
    if said is None:
        return asked_line(asked) + told_line(Markup('<p class="ts-muted">No answer.</p>'))
    below = join([EDITED if said.edited is not None else NOTHING, copy_button(said.text)])
    return asked_line(asked) + told_line(
        drawn_answer(said.text), Markup('<div class="ts-under">{}</div>').format(below)
    )


def drawn_pane(turns: Sequence[Turn], pane: int) -> Markup:
    """All turns of one pane."""
    return join(drawn_turn(turn.asked, turn.answers.get(pane)) for turn in turns)


def talk(content: Markup, name: str) -> Markup:
    """The inside of a pane. It scrolls, so the keyboard reaches it and a reader hears what is new."""
    return Markup('<div class="ts-talk" role="log" tabindex="0" aria-label="{}"><div>{}</div></div>').format(
        f"What {name} said", content
    )
