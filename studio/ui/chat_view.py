"""What the playground says: who can answer, the held-out prompts, the lines beneath an answer, the vote."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.services import Services
from studio.core.stores.chats import ALIKE, Chat, Turn
from studio.core.stores.runs import Run
from studio.core.use_cases.panes import Voice
from studio.ui.markup import NOTHING, Markup, cardhead, join, link, moment, muted
from studio.ui.units import count, figure, is_number
from studio.ui.voices import Pane

MOST_PROMPTS = 12
MOST_LETTERS = 90
MOST_PANES = 3
WAKING = "Waking the models up (about 10 s)…"
NOT_ASKED = "Nothing asked yet"
SLOWER = "A run is training on this machine: it takes longer."
PANE_NAMES = ("First pane", "Second pane", "Third pane")


@dataclass(frozen=True)
class Prompt:
    """A held-out question of a run, with the system message of its example and the answer that stands in the data."""

    asked: str
    system: str
    reference: str = ""

    @property
    def label(self) -> str:
        """The question as the words of a small button."""
        return short(self.asked)


def short(text: str, most: int = MOST_LETTERS) -> str:
    """A text as one line of at most so many letters."""
    words = " ".join(text.split())
    return words if len(words) <= most else words[: most - 1] + "…"


def prompts_of(run: Run) -> list[Prompt]:
    """The held-out prompts that the trainer left in the result; none where it left none."""
    result = run.result or {}
    found = result.get("prompts") or result.get("answers") or []
    kept = [one for one in found if isinstance(one, dict) and str(one.get("asked") or "").strip()]
    return [prompt_of(one) for one in kept[:MOST_PROMPTS]]


def prompt_of(found: Mapping[str, Any]) -> Prompt:
    """A prompt as a result has it."""
    asked, system, reference = (str(found.get(name) or "") for name in ("asked", "system", "reference"))
    return Prompt(asked, system, reference)


def held_out(services: Services, run: Run) -> list[Prompt]:
    """The held-out prompts of a run; of one that still goes, those that it is checked with."""
    if found := prompts_of(run):
        return found
    checks = services.metrics.samples(run.id)
    return [Prompt(one.asked, "", one.reference) for one in checks[min(checks)][:MOST_PROMPTS]] if checks else []


def named(voice: Voice) -> Markup:
    """The head of a pane."""
    return cardhead(voice.title, Markup('<span class="ts-muted">{}</span>').format(role_of(voice)))


def role_of(voice: Voice) -> str:
    """What a voice is, in words."""
    if voice.gone:
        return "Can not be asked any more"
    if voice.is_base:
        return "Base model"
    return f"Step {voice.step:,}, still training" if voice.step else f"Tuned, {count(voice.steps, 'step')}"


def choice_of(voice: Voice) -> tuple[str, str]:
    """A voice as a line of a dropdown, and its name."""
    what = role_of(voice)
    return f"{voice.title} ({what[0].lower()}{what[1:]})", voice.name


def speed_line(pane: Pane, beside: bool = False) -> Markup:
    """ "0.12 s to the first word, 48 tokens/s", and why it ended where that matters; `beside` a run it is told, too."""
    if pane.error is not None:
        return speed("Broke off" if pane.text else "Nothing was said")
    if not pane.done:
        return speed(f"Answering… {SLOWER}" if beside else "Answering…")
    return facts_line({"finish": pane.finish, **vars(pane.timings), "usage": pane.usage})


def facts_line(facts: Mapping[str, Any]) -> Markup:
    """The same of an answer that is kept."""
    parts = []
    first, pace, usage = facts.get("first_token_s"), facts.get("tokens_per_s"), facts.get("usage") or {}
    if is_number(first):
        parts.append(f"{figure(first, 2)} s to the first word")
    if is_number(pace) and pace:
        parts.append(f"{count(pace)} tokens/s")
    ended = {"length": "cut after ", "": "stopped after "}.get(facts.get("finish") or "", "")
    if usage.get("completion_tokens"):
        parts.append(ended + count(usage["completion_tokens"], "token"))
    elif ended:
        parts.append(ended.partition(" ")[0])
    return speed(", ".join(parts) or "Nothing was said")


def speed(words: str) -> Markup:
    """The line beneath a pane."""
    return Markup('<p class="ts-speed">{}</p>').format(words)


def is_cut(turn: Turn | None, pane: int) -> bool:
    """Whether an answer ended because it was long enough, or was stopped: it can be continued."""
    said = turn.answers.get(pane) if turn else None
    return said is not None and said.edited is None and said.facts.get("finish") in ("length", None, "")


def reference_of(prompts: Sequence[Prompt], asked: str) -> Markup:
    """The answer that the data gives to a held-out question; nothing for other questions."""
    found = next((one for one in prompts if one.reference and one.asked.strip() == asked.strip()), None)
    if found is None:
        return NOTHING
    return Markup(
        '<div class="ts-reference"><h2>The answer in your data</h2><div class="ts-said">{}</div></div>'
    ).format(found.reference)


def vote_words(turn: Turn, voices: Sequence[Voice]) -> Markup:
    """What was voted for, or the question."""
    if turn.best is None:
        return muted("Which answer is better?")
    if turn.best == ALIKE:
        return muted("Kept: both alike." if len(voices) == 2 else "Kept: all alike.")
    return Markup('<p class="ts-muted">Kept: <b>{}</b> is better.</p>').format(vote_name(voices, turn.best))


def vote_name(voices: Sequence[Voice], place: int) -> str:
    """What a vote's button calls a pane: Base and Tuned where that tells them apart, else its title."""
    if place < len(voices) == 2 and sum(one.is_base for one in voices) == 1:
        return "Base" if voices[place].is_base else "Tuned"
    if place >= len(voices):
        return PANE_NAMES[place]
    titles = [short(one.title, 24) + (f", step {one.step}" if one.step else "") for one in voices]
    return titles[place] if titles.count(titles[place]) == 1 else PANE_NAMES[place]


def turn_choices(chat: Chat | None) -> list[tuple[str, str]]:
    """The questions of a chat, to choose which one is meant."""
    turns = chat.turns if chat else ()
    return [(f"{place}. {short(turn.asked, 70)}", str(turn.number)) for place, turn in enumerate(turns, 1)]


def earlier_list(chats: Sequence[Chat], current: str, title: Callable[[str], str]) -> Markup:
    """Earlier chats as links, newest first."""
    if not chats:
        return muted("None yet. Every chat is kept here until you delete it.")
    rows = join(
        Markup('<li><a href="/playground?chat={}"{}>{}</a><span>{}</span></li>').format(
            chat.id,
            Markup(' aria-current="true"') if chat.id == current else "",
            chat.title or "Untitled",
            f"{' · '.join(map(title, chat.panes))}, {moment(chat.updated_at)}",
        )
        for chat in chats
    )
    return Markup('<ul class="ts-versions ts-chats">{}</ul>').format(rows)


def export_links(chat_id: str, some: bool) -> Markup:
    """Where the open chat and all chats are downloaded."""
    parts = [link("Export this chat", f"/download/chats/{chat_id}")] if chat_id else []
    parts += [link("Export all chats (JSONL)", "/download/chats")] if some else []
    return Markup('<p class="ts-muted ts-links">{}</p>').format(Markup(" · ").join(parts)) if parts else NOTHING
