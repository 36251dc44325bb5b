""" "Use it from code" on a run's page: what any OpenAI client is told to ask this run's model, ready to be pasted."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.use_cases.keys import needs_key
from studio.core.use_cases.named_models import tuned_name
from studio.shell.session import owner_of
from studio.ui.fields import Pick
from studio.ui.frame import QUIET
from studio.ui.markup import Markup, cardhead, html, link, muted
from studio.ui.notices import with_note

LONGEST = 300
KEY = "TUNESMITH_API_KEY"
HELLO = [{"role": "user", "content": "Hello!"}]
NO_KEY = "any"
"""What stands in for a key where none is asked: the clients want one."""


@dataclass(frozen=True)
class Call:
    """One question: where it goes, to whom, what is asked, and whether it brings a key."""

    base: str
    model: str
    messages: list[dict[str, str]]
    needs_key: bool


def curl(call: Call) -> str:
    """For a shell."""
    body = {"model": call.model, "messages": call.messages, "temperature": 0}
    lines = [f"curl {call.base}/v1/chat/completions", "-H 'Content-Type: application/json'"]
    if call.needs_key:
        lines.append(f'-H "Authorization: Bearer ${KEY}"')
    lines.append(f"-d {shlex.quote(json.dumps(body, ensure_ascii=False, indent=2))}")
    return " \\\n  ".join(lines)


def python(call: Call) -> str:
    """For the `openai` package."""
    key = f'os.environ["{KEY}"]' if call.needs_key else f'"{NO_KEY}"'
    head = ["import os", ""] if call.needs_key else []
    return "\n".join(
        [
            *head,
            "from openai import OpenAI  # pip install openai",
            "",
            f'client = OpenAI(base_url="{call.base}/v1", api_key={key})',
            "answer = client.chat.completions.create(",
            f'    model="{call.model}",',
            "    messages=[",
            *(f"        {json.dumps(message, ensure_ascii=False)}," for message in call.messages),
            "    ],",
            "    temperature=0,",
            ")",
            "print(answer.choices[0].message.content)",
        ]
    )


def javascript(call: Call) -> str:
    """For the `openai` package of npm, in a file that ends in .mjs."""
    key = f"process.env.{KEY}" if call.needs_key else f'"{NO_KEY}"'
    return "\n".join(
        [
            'import OpenAI from "openai"; // npm install openai',
            "",
            f'const client = new OpenAI({{ baseURL: "{call.base}/v1", apiKey: {key} }});',
            "const answer = await client.chat.completions.create({",
            f'  model: "{call.model}",',
            "  messages: [",
            *(f"    {json.dumps(message, ensure_ascii=False)}," for message in call.messages),
            "  ],",
            "  temperature: 0,",
            "});",
            "console.log(answer.choices[0].message.content);",
        ]
    )


WAYS: dict[str, Callable[[Call], str]] = {"curl": curl, "Python": python, "JavaScript": javascript}


def messages_of(run: Run) -> list[dict[str, str]]:
    """A held-out question as the run knows it, the first that is short; a greeting where there is none."""
    found = (run.result or {}).get("prompts") or []
    for prompt in found if isinstance(found, list) else []:
        asked = str(prompt.get("asked") or "") if isinstance(prompt, Mapping) else ""
        if 0 < len(asked) <= LONGEST:
            system = str(prompt.get("system") or "")
            first = [{"role": "system", "content": system}] if 0 < len(system) <= LONGEST else []
            return [*first, {"role": "user", "content": asked}]
    return HELLO


def address_of(request: Any) -> str:
    """The studio's address as this browser knows it. The gate has checked both headers."""
    headers = request.headers
    return str(headers.get("origin") or f"http://{headers.get('host') or '127.0.0.1'}")


def code_block(text: str, name: str) -> Markup:
    """Code that can be copied at a click."""
    return Markup(
        '<div class="ts-code"><button type="button" class="ts-copy" data-ts-copy="{}" aria-label="Copy the {} example">'
        'Copy</button><pre class="ts-log" tabindex="0" role="region" aria-label="{} example">{}</pre></div>'
    ).format(text, name, name, text)


def key_words(needed: bool) -> Markup:
    """Whether a key is needed, and where keys are made."""
    if needed:
        make = link("Make an API key", "/keys")
        return muted(Markup("It needs a key. {}, and set <code>{}</code> to it before you paste.").format(make, KEY))
    keys = link("API keys", "/keys")
    words = "This studio answers this machine alone: any key, or none, is accepted. {}"
    return muted(Markup(words).format(keys))


class CodeCard:
    """The card. Its code is written when the page is opened; the page's ticks show it once there is an adapter."""

    def __init__(self) -> None:
        """Drawn where it is made, hidden."""
        with gr.Column(elem_classes="ts-card", visible=False) as box:
            html(cardhead("Use it from code"))
            self.way = Pick(
                list(WAYS), value="curl", label="Language", show_label=False, container=False, elem_classes="ts-seg"
            )
            self.code, self.words = html(), html(visible=False)
        self.places: list[Any] = [box]

    @staticmethod
    def drawn(run: Run, has_adapter: bool) -> list[Any]:
        """What stands in the places."""
        return [gr.update(visible=has_adapter and run.state in ("succeeded", "stopped"))]

    def wire(self, services: Services, opened: Any, run_id: gr.Textbox) -> None:
        """Write the code after the event `opened`, and when another language is picked."""

        def written(run_id: str, way: str, request: gr.Request) -> str:
            if not run_id:
                return ""
            run = services.runs.get(run_id, owner_of(request))
            needed = needs_key(services)
            call = Call(address_of(request), tuned_name(run), messages_of(run), needed)
            name = way if way in WAYS else "curl"
            return str(code_block(WAYS[name](call), name) + key_words(needed))

        handler, inputs, outputs = with_note(written, 1, shown=True), [run_id, self.way], [self.code, self.words]
        opened.then(handler, inputs, outputs, **QUIET)
        self.way.input(handler, inputs, outputs, **QUIET)
