"""Whether a model's tokenizer and template can be used, tried on the simplest chats under a template's limits."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.core.chat_templates import OFFERED
from studio.core.errors import Refused
from studio.core.learnt import label, plan
from studio.core.template import ANOTHER_MODEL, UNSAFE, Message, render
from studio.core.tokenizer import Chat, load_chat
from studio.importing.limits import template_guard

_QUESTION: Message = {"role": "user", "content": "How many?"}
_ANSWER: Message = {"role": "assistant", "content": "Two boxes."}
_LONG = [_QUESTION, _ANSWER] * 20


def check(model: Path, template: str) -> dict[str, Any]:
    """Which template is used, whether an answer's end is learnt, the rules of its tokens, which of ours would fit.

    Raises `Refused` where something is missing or damaged, the template is unsafe or too slow or takes no chat, or it
    writes tokens that the model has no place for.
    """
    chat = load_chat(model, template)
    with template_guard():
        prompt = render(chat.template, [_QUESTION], add_generation_prompt=True).text
        planned = plan([_QUESTION, _ANSWER], chat.template)
        _long_chat(chat)
    encoded = chat.encoder.encode(planned.text)
    learnt = label(planned, encoded, chat.encoder)
    lost = [number for number in (*learnt.ids, *chat.encoder.encode(prompt).ids) if not chat.rules.has_room_for(number)]
    if lost:
        raise Refused(
            f"This model's chat template writes token {lost[0]:,}; the model has room for {chat.rules.embedding:,}.",
            ANOTHER_MODEL, field="base.repo",
        )  # fmt: skip
    return {
        "template": chat.written,
        "prompt": prompt[:2000],
        "ends": learnt.ends,
        "rules": asdict(chat.rules),
        "beyond": chat.rules.beyond,
        "fits": [name for name in OFFERED if _fits(model, name)],
    }


def _long_chat(chat: Chat) -> None:
    """A long chat too: some templates are slow only there. One that refuses it is told at the dataset's rows."""
    try:
        render(chat.template, _LONG)
    except Refused as error:
        if error.problem == UNSAFE:
            raise


def _fits(model: Path, name: str) -> bool:
    try:
        load_chat(model, name)
    except Refused:
        return False
    return True
