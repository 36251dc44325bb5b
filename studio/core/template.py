"""Chat templates: messages in, the text that the model sees out.

Byte for byte that of transformers' `apply_chat_template(tokenize=False)`; a test holds them alike. Pure. A template is
a stranger's program: it is sandboxed here, but its time and memory are limited only by the process that calls this.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.utils import Namespace

from studio.core.errors import Refused, StudioError

UNSAFE = "This model's chat template is unsafe or too slow."
ANOTHER_MODEL = "Choose another model."
_LONGEST_TEXT = 20_000_000
_REASONING = ("reasoning_content", "thinking", "reasoning")

Message = Mapping[str, Any]
Span = tuple[int, int]


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template and the special tokens it may name (`bos_token`, `eos_token`, ...) as text."""

    source: str
    special: Mapping[str, str]


class Rendered(NamedTuple):
    """A chat as the model sees it, and the character spans that the template marks as generated (often none)."""

    text: str
    generated: tuple[Span, ...]


class _Marks(jinja2.ext.Extension):
    """The `{% generation %}` tag: notes which characters the assistant writes. Set up as in transformers 5.23."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own attribute)

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        environment.extend(note_marks=self.note_marks)
        self._here = threading.local()  # the engine renders in several threads with one environment

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        """The tag as a call around its body."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_generated"), [], [], body).set_lineno(line)

    def _generated(self, caller: Callable[[], str]) -> str:
        text = caller()
        blocks = getattr(self._here, "blocks", None)
        if blocks is not None:
            start = len("".join(blocks))
            self._here.spans.append((start, start + len(text)))
        return text

    @contextmanager
    def note_marks(self, blocks: list[str], spans: list[Span]) -> Iterator[None]:
        """While open, spans are noted against the text that stands in `blocks` so far."""
        self._here.blocks, self._here.spans = blocks, spans
        try:
            yield
        finally:
            del self._here.blocks, self._here.spans


def _raise_exception(message: Any) -> None:
    raise jinja2.TemplateError(str(message))


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


class _Dict:
    """`dict` for templates, without a way to Python's own class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """A dict."""
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """As `dict.fromkeys`."""
        return dict.fromkeys(*args, **kwargs)


def _public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError("a template can not store names with a leading underscore")


class _Namespace(Namespace):
    """`namespace` for templates, without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, rest = args[0], args[1:]
        values = dict(*rest, **kwargs)
        for name in values:
            _public(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        Namespace.__setitem__(self, name, value)


@lru_cache(maxsize=8)
def _compiled(source: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Marks, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_Dict(), namespace=_Namespace
    )
    return environment.from_string(source)


def _for_template(message: Message) -> dict[str, Any]:
    """A message as templates get it: nulls and our `weight` left out, reasoning under all its names."""
    if len(message) == 2:
        return dict(message)
    plain = {key: value for key, value in message.items() if value is not None and key != "weight"}
    reasoning = next((plain[key] for key in _REASONING if key in plain), None)
    return plain if reasoning is None else {"thinking": reasoning, **plain, "reasoning_content": reasoning}


def render(
    template: ChatTemplate,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Any] | None = None,
) -> Rendered:
    """The chat as text, `tools` described as the template does it.

    Raises `Refused` where the template refuses it, fails, or asks for too much.
    """
    blocks: list[str] = []
    spans: list[Span] = []
    values = {
        **template.special, "messages": [_for_template(message) for message in messages],
        "tools": list(tools) if tools else None, "documents": None, "add_generation_prompt": add_generation_prompt,
    }  # fmt: skip
    try:
        compiled = _compiled(template.source)
        with compiled.environment.note_marks(blocks, spans):  # type: ignore[attr-defined]
            blocks.extend(compiled.generate(values))
    except StudioError:
        raise
    except MemoryError as error:
        raise Refused(UNSAFE, ANOTHER_MODEL) from error
    except jinja2.TemplateSyntaxError as error:
        raise Refused("This model's chat template can not be read.", ANOTHER_MODEL) from error
    except jinja2.TemplateError as error:
        said = " ".join(str(error).split())[:200]
        raise Refused(
            f"This model's chat template refuses the chat: {said}", "Choose another model or file."
        ) from error
    except Exception as error:
        raise Refused("This model's chat template fails on this chat.", "Choose another model or file.") from error
    text = "".join(blocks)
    if len(text) > _LONGEST_TEXT:
        raise Refused(UNSAFE, ANOTHER_MODEL)
    return Rendered(text, tuple(spans))
