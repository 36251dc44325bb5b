"""What a client may ask of `/v1/chat/completions`, checked, and the question that the engine gets for it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from studio.core.calls import arguments_of
from studio.core.errors import Refused
from studio.core.openai_body import plain_body

MOST_CHOICES = 8
PLENTY = 1024
"""Tokens of an answer where the client sets no limit: a small model that never ends would run to its whole context."""
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
# Known to OpenAI and not to us: a client that sets one gets a refusal, not an answer that quietly ignores it. What is
# listed with each is as good as unset.
UNKNOWN: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tool_choice": ("auto", "none"),
    "functions": ([],),
    "function_call": ("auto", "none"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
}
Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class StreamOptions(BaseModel):
    """Of a stream: whether it ends with the tokens used."""

    include_usage: bool = False


class ChatAsk(BaseModel):
    """The body of a question. What is not known is left unread, as clients send much of it; null means the default."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model: str = Field(min_length=1, max_length=400)
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    n: int = Field(1, ge=1, le=MOST_CHOICES)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=5)
    top_p: float = Field(1.0, ge=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=5)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: list[Stop] = Field(default_factory=list, max_length=16)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)
    tools: list[dict[str, Any]] = Field(default_factory=list, max_length=128)
    tool_choice: Literal["auto", "none"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _as_openai_has_it(cls, body: Any) -> Any:
        """As `plain_body`; what we can not do is refused."""
        given = plain_body(body)
        for name in UNKNOWN if isinstance(given, dict) else ():
            if name in given and given[name] not in UNKNOWN[name]:
                raise ValueError(f"`{name}` is not supported here")
        return given

    @field_validator("messages")
    @classmethod
    def _as_templates_have_them(cls, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Roles that templates know, and the content as text; all else of a message stays as it is."""
        return [plain_message(message) for message in messages]

    def for_engine(self, model: str) -> dict[str, Any]:
        """The question to the engine's `model`. Always streamed: silence is a death."""
        names = {"messages", "n", "temperature", "top_k", "min_p", "repetition_penalty", "stop"}
        told = self.model_dump(include=names) | {"model": model, "stream": True, "top_p": self.top_p or 1e-6}
        told["max_tokens"] = self.max_tokens or PLENTY
        if self.seed is not None:
            told["seed"] = self.seed
        if self.logprobs:
            told |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        if self.may_call:
            told["tools"] = self.tools
        return told

    @property
    def may_call(self) -> bool:
        """Whether the answer may call tools."""
        return bool(self.tools) and self.tool_choice != "none"


def plain_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as chat templates read it. Raises ValueError where it is none."""
    role = ROLES.get(str(message.get("role")))
    if role is None:
        raise ValueError(f"a role is one of {', '.join(ROLES)}")
    plain = {**message, "role": role, "content": plain_content(message.get("content"))}
    calls = plain.get("tool_calls")
    if not isinstance(calls, list | None):
        raise ValueError("the tool_calls of a message are a list")
    return plain | ({"tool_calls": [plain_call(call) for call in calls]} if calls else {})


def plain_call(call: Any) -> dict[str, Any]:
    """A call of a tool, its arguments as the object that chat templates print. Raises ValueError where it is none."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError("a tool call has a function with a name")
    return {**call, "function": {**function, "arguments": arguments_of(function.get("arguments"))}}


def plain_content(content: Any) -> str:
    """Text as it is, parts of text joined; none (of an assistant that called a tool) is empty."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise ValueError("a content is text, or a list of parts of type text")
    return "".join(part["text"] for part in parts)


def read_ask(raw: bytes) -> ChatAsk:
    """The body as a question. Raises `Refused` with the first fault and its field."""
    try:
        return ChatAsk.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        words = first["msg"].removeprefix("Value error, ")
        said = f"`{where}`: {words}." if where else f"{words[:1].upper()}{words[1:]}."
        raise Refused(said, "Correct it and ask again.", field=where) from error
