"""What the playground says: the runs to choose from, the held-out prompts, the line beneath an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.engine_client import ChatOptions
from studio.core.errors import Refused
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.ui.duet import Pane
from studio.ui.fields import whole
from studio.ui.markup import Markup
from studio.ui.plain_chat import Chat
from studio.ui.units import count, figure, is_number

MOST_PROMPTS = 12
MOST_LETTERS = 90
WAKING = "Waking the models up (about 10 s)…"


@dataclass(frozen=True)
class Prompt:
    """A held-out question of a run, with the system message of its example."""

    asked: str
    system: str

    @property
    def label(self) -> str:
        """The question as the words of a small button."""
        words = " ".join(self.asked.split())
        return words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1] + "…"


def ready_runs(services: Services, owner: str) -> list[Run]:
    """The person's runs whose adapter is there, newest first."""
    return [
        run
        for run in services.runs.of(owner)
        if (services.artifacts.adapter_dir(run.id) / "adapter_model.safetensors").is_file()
    ]


def prompts_of(run: Run) -> list[Prompt]:
    """The held-out prompts that the trainer left in the result; none where it left none."""
    result = run.result or {}
    found = result.get("prompts") or result.get("answers") or []
    kept = [one for one in found if isinstance(one, dict) and str(one.get("asked") or "").strip()]
    return [Prompt(str(one["asked"]), str(one.get("system") or "")) for one in kept[:MOST_PROMPTS]]


def options_of(values: Sequence[Any]) -> ChatOptions:
    """Temperature, top p, longest answer and seed as the drawer has them. Raises `Refused` for what is no answer."""
    temperature, top_p, most, seed = values
    for name, value, low, high in (
        ("Temperature", temperature, 0, 2),
        ("Top p", top_p, 0, 1),
        ("Longest answer", most, 1, 4096),
        ("Seed", seed, 0, 2**31 - 1),
    ):
        if not isinstance(value, int | float) or not is_number(value) or not low <= value <= high:
            raise Refused(f"{name} can not be {value}.", f"Choose {low} to {high:,}.")
    return ChatOptions(float(temperature), max(float(top_p), 0.01), whole(most), whole(seed))


def asked(chat: Chat, system: str, question: str) -> Chat:
    """The messages for one model: the system message, what was said in its pane, the question."""
    first = [{"role": "system", "content": system}] if system.strip() else []
    return [*first, *chat, {"role": "user", "content": question}]


def shown(chat: Chat, question: str, answer: str) -> Chat:
    """The pane with the question and the answer so far."""
    return [*chat, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def last_question(chat: Chat) -> tuple[Chat, str]:
    """The pane before its last question, and that question; an empty one where nothing was asked."""
    for place in range(len(chat) - 1, -1, -1):
        if chat[place]["role"] == "user":
            return chat[:place], chat[place]["content"]
    return chat, ""


def speed_line(pane: Pane) -> Markup:
    """ "0.12 s to the first word, 48 tokens/s", and why it ended where that matters."""
    parts = []
    if pane.timings.first_token_s is not None:
        parts.append(f"{figure(pane.timings.first_token_s, 2)} s to the first word")
    if pane.timings.tokens_per_s:
        parts.append(f"{count(pane.timings.tokens_per_s)} tokens/s")
    if pane.finish == "length":
        parts.append("cut at the longest answer")
    return speed(", ".join(parts) or ("Answering…" if not pane.done else "Nothing was said"))


def speed(words: str) -> Markup:
    """The line beneath a pane."""
    return Markup('<p class="ts-speed">{}</p>').format(words)
