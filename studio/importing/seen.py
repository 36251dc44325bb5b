"""One example as a model sees it: its text, its tokens, what is learnt of it and where it is cut."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.core.chat_templates import AUTO
from studio.core.comparing import worse_side
from studio.core.data_file import DataFile
from studio.core.errors import Refused
from studio.core.examples import Example
from studio.core.learnt import Learnt, Plan, Turn, label, plan, plan_example
from studio.core.template import ChatTemplate
from studio.core.tokenizer import Chat, load_chat
from studio.importing.limits import template_guard


def preview(data: Path, model: Path, index: int, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Example `index` (from 0) as turns of tokens. Raises `Refused` where the template refuses it.

    `wishes`, each with a default: `max_length`, `learn` (which words are learnt: `studio.core.comparing.learns`),
    `template`, and `eval_share` with `seed`, by which examples are held out to check.
    `ids` and `labels` are those that the trainer takes, up to the cut; `turns` go on behind it, each token says so.
    """
    max_length, learn = wishes.get("max_length"), str(wishes.get("learn") or "answers")
    with DataFile(data) as file:
        row, example = file.one(index)
        total = len(file)
        held = index in file.held_out(float(wishes.get("eval_share") or 0), int(wishes.get("seed") or 0))
    chat = load_chat(model, str(wishes.get("template") or AUTO))
    learnt, turns = _turns(example, chat, max_length, learn)
    rejected: list[dict[str, Any]] = []
    if example.rejected:
        answers = len(example.rejected)
        rejected = _turns(worse_side(example), chat, max_length, learn)[1][-answers:]
    return {
        "index": index,
        "row": row["row"],
        "source": row.get("source", 0),
        "total": total,
        "text": learnt.text,
        "turns": turns,
        "rejected": rejected,
        "label": example.label,
        "ids": learnt.ids,
        "labels": learnt.labels,
        "tokens": len(learnt.ids),
        "learnt": learnt.learnt,
        "cut": learnt.cut,
        "ends": learnt.ends,
        "held_out": held,
    }


def _turns(example: Example, chat: Chat, max_length: int | None, learn: str) -> tuple[Learnt, list[dict[str, Any]]]:
    with template_guard():
        planned = plan_example(example, chat.template, chat.encoder.bos, learn)
    encoded = chat.encoder.encode(planned.text)
    learnt, whole = (label(planned, encoded, chat.encoder, longest) for longest in (max_length, None))
    turns = _own_turn(planned, example, chat.template) + list(planned.turns)
    return learnt, _shown(whole, len(learnt.ids), turns, chat.encoder.special_ids)


def _own_turn(planned: Plan, example: Example, template: ChatTemplate) -> list[Turn]:
    """The words that the template itself puts first (a default system message), as a turn; none where it has none.

    They are what stands before the first message when the same message, later in the chat, looks shorter.
    """
    first, messages = planned.turns[0], example.messages
    if first.role != "user":
        return []
    try:
        again = [messages[0], {"role": "assistant", "content": "x"}]
        with template_guard():
            block = plan([*again, messages[0]], template).text[len(plan(again, template).text) :]
    except Refused:
        return []
    head = planned.text[: first.end].removesuffix(block)
    bare = head
    for mark in template.special.values():
        bare = bare.replace(mark, "")
    if len(head) == first.end or not any(character.isalpha() for character in bare):
        return []
    line = head.find("\n") + 1
    return [Turn("system", 0, len(head), (line, len(head)), False)]


def _shown(learnt: Learnt, kept: int, turns: Sequence[Turn], special: frozenset[int]) -> list[dict[str, Any]]:
    """Turns with their tokens; from token `kept` on they are cut. Every character stands in exactly one token."""
    pieces: list[dict[str, Any]] = []
    at = 0
    for place, (id_, target, (start, end)) in enumerate(zip(learnt.ids, learnt.labels, learnt.offsets, strict=True)):
        turn = next((turn for turn in turns if start < turn.end), turns[-1])
        first, last = turn.words
        is_special, is_learnt = id_ in special, target == id_ and place < kept
        outside = turn.learnt or not first <= start < last  # of a learnt turn, what is not learnt is the template's
        token = {
            "text": learnt.text[at : max(at, end)],
            "learnt": is_learnt,
            "special": is_special,
            "role_mark": outside and not is_special and not is_learnt and place < kept,
        }
        if place >= kept:
            token["cut"] = True
        at = max(at, end)
        if not pieces or pieces[-1]["turn"] is not turn:
            pieces.append({"turn": turn, "tokens": []})
        pieces[-1]["tokens"].append(token)
    return [{"role": piece["turn"].role, "learnt": piece["turn"].learnt, "tokens": piece["tokens"]} for piece in pieces]
