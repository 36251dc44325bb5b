"""What stands around the panes once nothing is being said: the vote, the reference, the votes so far, earlier chats.

All of it is read from the records, so it is true after a reload, too.
"""

from typing import Any

import gradio as gr

from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.stores.chats import ALIKE, Chat, Turn
from studio.core.use_cases.judging import Judged, judged, takes
from studio.core.use_cases.panes import Voice
from studio.ui.chat_view import (
    MOST_PANES,
    earlier_list,
    export_links,
    held_out,
    is_cut,
    reference_of,
    turn_choices,
    vote_name,
    vote_words,
)
from studio.ui.markup import NOTHING, Markup, cardhead, join, muted
from studio.ui.room import Room
from studio.ui.units import count

NEW = "A new dataset"


def places(room: Room) -> list[Any]:
    """The parts that `settled` fills, in its order."""
    votes = [room.turn, room.vote_row, room.verdict, *room.best, *room.alike]
    panes = [part for pane in room.panes for part in (pane.edit, pane.more)]
    made = [room.tally, room.making, room.kind, room.target]
    rest = [room.reference, room.earlier, room.links, room.delete, room.sure, room.spare]
    return [*votes, *panes, *made, *rest]


def settled(
    services: Services, owner: str, chat: Chat | None, voices: list[Voice], title: Any, number: Any = None
) -> list[Any]:
    """What stands in the parts. `number` is the turn that is meant; the last one where there is none such."""
    turn = turn_of(chat, number)
    return [
        *vote_parts(chat, turn, voices),
        *pane_parts(chat, turn),
        *made_parts(services, owner, judged(services.chats.judged(owner))),
        *rest_parts(services, owner, chat, turn, title),
    ]


def turn_of(chat: Chat | None, number: Any) -> Turn | None:
    """The turn that is meant."""
    if chat is None or not chat.turns:
        return None
    asked = chat.turn(int(number)) if str(number).isdecimal() else None
    return asked or chat.turns[-1]


def vote_parts(chat: Chat | None, turn: Turn | None, voices: list[Voice]) -> list[Any]:
    """Which question is meant, and a button for each answer and for none."""
    choices = turn_choices(chat)
    several = turn is not None and len(turn.answers) > 1
    which = gr.update(choices=choices, value=str(turn.number) if turn else None, visible=len(choices) > 1)
    words = str(vote_words(turn, voices)) if turn and several else ""
    names = [
        gr.update(
            visible=bool(turn and several and n in turn.answers),
            value=vote_name(voices, n) if n < len(voices) else "",
            variant="primary" if turn and turn.best == n else "secondary",
        )
        for n in range(MOST_PANES)
    ]
    alike = [
        gr.update(
            visible=bool(several and turn and (len(turn.answers) == 2) == two),
            value="Both alike" if two else "All alike",
            variant="primary" if turn and turn.best == ALIKE else "secondary",
        )
        for two in (True, False)
    ]
    return [which, gr.update(visible=several or len(choices) > 1), words, *names, *alike]


def pane_parts(chat: Chat | None, turn: Turn | None) -> list[Any]:
    """Edit answer and Continue of each pane; only the last answer can go on."""
    last = chat is not None and turn is not None and turn == chat.turns[-1]
    found: list[Any] = []
    for n in range(MOST_PANES):
        found.append(gr.update(visible=turn is not None and n in turn.answers))
        found.append(gr.update(visible=bool(last and is_cut(turn, n))))
    return found


def made_parts(services: Services, owner: str, found: Judged) -> list[Any]:
    """What the votes come to, and where they could go."""
    kinds = kinds_of(found)
    words = tally(found)
    first = kinds[0][1] if kinds else "preferences"
    return [
        str(words),
        gr.update(visible=bool(kinds)),
        gr.update(choices=kinds, value=first),
        gr.update(choices=targets(services, owner, first), value=""),
    ]


def kinds_of(found: Judged) -> list[tuple[str, str]]:
    """The kinds of examples that there are, as choices."""
    kinds = []
    if found.preferences:
        kinds.append((f"Preferences\n{count(len(found.preferences), 'pair')}, for DPO or ORPO", "preferences"))
    if found.answers:
        kinds.append((f"Edited answers\n{count(len(found.answers), 'chat')}, to learn from", "answers"))
    return kinds


def targets(services: Services, owner: str, kind: Any) -> list[tuple[str, str]]:
    """Where examples of a kind can go."""
    wanted: Any = kind if kind in ("preferences", "answers") else "preferences"
    fitting = [one for one in services.datasets.of(owner) if takes(one, wanted)]
    return [(NEW, ""), *((f"The next version of {one.name}", one.dataset_id) for one in fitting)]


def tally(found: Judged) -> Markup:
    """What was voted and edited so far."""
    if not found.votes and not found.answers:
        text = "Vote for the better answer, or edit one: each becomes an example that the next run can learn from."
        return join([cardhead("Your votes"), muted(text)])
    parts = [count(found.votes, "vote") + (f" ({found.alike} alike)" if found.alike else "")] if found.votes else []
    parts += [count(len(found.answers), "edited answer")] if found.answers else []
    words = " and ".join(parts) + "."
    if not found.preferences and not found.answers:
        words += " No example comes of them: equal answers teach nothing."
    return join([cardhead("Your votes"), muted(words)])


def rest_parts(services: Services, owner: str, chat: Chat | None, turn: Turn | None, title: Any) -> list[Any]:
    """The reference answer, earlier chats, what can be done with the open one."""
    words = NOTHING
    if turn is not None and chat is not None and chat.run_id:
        words = reference_of(prompts_for(services, owner, chat.run_id), turn.asked)
    chats = services.chats.of(owner)
    current = chat.id if chat else ""
    return [
        gr.update(value=str(words), visible=bool(words)),
        str(earlier_list(chats, current, title)),
        str(export_links(current, bool(chats))),
        gr.update(visible=bool(current)),
        gr.update(visible=False),
        gr.update(visible=False),
    ]


def prompts_for(services: Services, owner: str, run_id: str) -> Any:
    """The held-out prompts of a run; none where it is gone."""
    try:
        return held_out(services, services.runs.get(run_id, owner))
    except NotFound:
        return []
