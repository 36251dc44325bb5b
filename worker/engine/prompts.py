"""A chat to the ids that the model reads, by the model folder's own template and tokenizer."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from studio.core.errors import Refused
from studio.core.learnt import ChatTemplate, render
from studio.core.tokenizer import load_chat, own_template

MARK = "tunesmithgoeson"
UNSTATED_CONTEXT = 2048
"""For a model that does not say how much it reads."""


class Prompts:
    """The tokenizer's side of one model folder; safe for several threads."""

    def __init__(self, folder: Path) -> None:
        """Read the folder's tokenizer, template and configs. Raises Refused where one is missing or damaged."""
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._chat = load_chat(folder)
        self.context = self._chat.context or UNSTATED_CONTEXT
        self._others: dict[str, tuple[ChatTemplate, frozenset[int]]] = {}
        self.ends = configured_ends(folder) | self.template_ends()

    def learnt_with(self, name: str, folder: Path, given: str | None = None) -> None:
        """From now on the adapter `name` is asked in the chat template that lies beside it, or in the `given` one.

        Raises Refused.
        """
        source = own_template(folder) or given
        if source is None or source == self._chat.template.source:
            self._others.pop(name, None)
            return
        template = ChatTemplate(source, self._chat.template.special)
        self._others[name] = template, self.ends | self.template_ends(template)

    def ends_of(self, name: str) -> frozenset[int]:
        """The ids that end an answer of the adapter `name`, or of the base model."""
        return self._others[name][1] if name in self._others else self.ends

    def prompt(self, messages: list[dict[str, Any]], name: str = "base", tools: Any = None, go_on: bool = False) -> str:
        """The prompt's text, up to where the answer begins, or with `go_on` up to where the last message ends.

        Raises Refused where the template refuses the chat, or does not write the last message as it stands.
        """
        template = self._others[name][0] if name in self._others else self._chat.template
        if not go_on:
            return render(template, messages, add_generation_prompt=True, tools=tools or None).text
        last = messages[-1]
        marked = [*messages[:-1], {**last, "content": f"{last.get('content') or ''}{MARK}"}]
        before, found, _after = render(template, marked, tools=tools or None).text.rpartition(MARK)
        if not found:
            raise Refused("This model's chat template can not continue an answer.", "Ask for a new one.")
        return before

    def ids(self, messages: list[dict[str, Any]], name: str = "base") -> list[int]:
        """The ids of `prompt`."""
        return self.encode(self.prompt(messages, name))

    def text(self, ids: list[int]) -> str:
        """The text of some ids, without special tokens."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def encode(self, text: str) -> list[int]:
        """The ids of a text, nothing added."""
        return self._chat.encoder.encode(text).ids

    def template_ends(self, template: ChatTemplate | None = None) -> frozenset[int]:
        """The special token that the template writes after an answer: it ends a turn, whatever the configs name.

        Raises Refused where the template does not take the simplest chat.
        """
        mark = "wordwordword"
        chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
        after = render(template or self._chat.template, chat).text.rpartition(mark)[2].lstrip()
        return frozenset(self.encode(after)[:1]) & self._chat.encoder.special_ids


def configured_ends(folder: Path) -> frozenset[int]:
    """The end-of-turn ids that the model's configs name: one id or a list, in either file."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        value = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(found)


def hash_of(ids: list[int]) -> str:
    """What tells two prompts apart: sha256 of the ids as 32-bit integers, the low byte first."""
    return hashlib.sha256(np.asarray(ids, dtype="<i4").tobytes()).hexdigest()
