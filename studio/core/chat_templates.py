"""Chat templates for base models, which bring none: as data, the plain one first. Pure.

Each writes one block after another and closes an answer with a token that the model knows already, so that it learns to
stop and nothing of its vocabulary changes.
"""

from dataclasses import dataclass

AUTO = "auto"
_EACH = (
    "{%- if tools %}{{ raise_exception('it has no place for tools') }}{% endif %}"
    "{%- for message in messages %}{%- if message.tool_calls or message.role == 'tool' %}"
    "{{ raise_exception('it has no place for tools') }}{% endif %}"
)


@dataclass(frozen=True)
class Offered:
    """A template to choose: its name in the config, its source, the tokens it needs, and how a chat looks in it."""

    name: str
    source: str
    needs: tuple[str, ...]
    looks: str


PLAIN = Offered(
    "plain",
    _EACH + "{%- if message.role == 'system' %}{{ (message.content or '') + '\\n\\n' }}"
    "{%- else %}{{ message.role | capitalize + ':\\n' + (message.content or '') }}"
    "{%- if message.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
    "{%- if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}",
    (),
    "User: and Assistant: lines, ended by the model's own end of text",
)
CHATML = Offered(
    "chatml",
    _EACH + "{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "ChatML: every turn between <|im_start|> and <|im_end|>",
)
OFFERED = {one.name: one for one in (PLAIN, CHATML)}
DEFAULT = PLAIN


def source_of(offered: Offered, begins: bool) -> str:
    """The template, with the token that begins a text before everything where the tokenizer `begins` with one."""
    return ("{{- bos_token }}" if begins else "") + offered.source
