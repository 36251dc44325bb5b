"""The exact prompt of each pane: the text with its marks as the template writes it, and how many tokens it has."""

from studio.core.engine_client import ChatOptions
from studio.core.errors import Refused
from studio.core.services import Services
from studio.core.stores.chats import Chat, told_first
from studio.core.use_cases.chat import open_model
from studio.core.use_cases.panes import Seating
from studio.ui.markup import Markup, join, log_text
from studio.ui.units import count


def read_by(services: Services, owner: str, seats: Seating, chat: Chat | None, question: str, system: str) -> Markup:
    """What each pane reads for `question`; where that is empty, what it read for the last one. Raises `StudioError`."""
    turns = chat.turns if chat else ()
    number = turns[-1].number if turns else 0
    if question.strip():
        number += len(turns) > 0
    elif not turns:
        raise Refused("There is no question.", "Write one first.")
    asked = question.strip() or turns[-1].asked
    client = open_model(services, owner, seats.wanted)
    found = []
    for n, voice in enumerate(seats.seated):
        before = chat.history(n, number) if chat else []
        messages = [*told_first(system), *before, {"role": "user", "content": asked}]
        told = client.prompt(voice.name, messages, ChatOptions())
        found.append(one_prompt(voice.title, told["text"], told["tokens"], told["prompt_hash"]))
    return Markup('<div class="ts-prompts">{}</div>').format(join(found))


def one_prompt(title: str, text: str, tokens: int, digest: str) -> Markup:
    """One pane's prompt."""
    about = Markup('<p class="ts-muted">{}, fingerprint <code>{}</code></p>').format(
        count(tokens, "token"), digest[:12]
    )
    return Markup("<section><h3>{}</h3>{}{}</section>").format(title, about, log_text(text))
