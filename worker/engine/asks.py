"""What a client may ask, in OpenAI's shape, and the shapes of what it is told."""

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from studio.core.errors import Refused, StudioError
from studio.core.openai_body import plain_body

Ask = TypeVar("Ask", bound=BaseModel)
Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ChatAsk(BaseModel):
    """The body of POST /v1/chat/completions; what we do not know is left unread, as clients send much of it."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model: str = Field(max_length=200)
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=1000)
    stream: bool = False
    temperature: float = Field(1.0, ge=0, le=5)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0 is off.")
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    num_beams: int = Field(1, ge=1, le=16)
    n: int = Field(1, ge=1, le=16)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)
    tools: list[dict[str, Any]] = Field(default_factory=list, max_length=128)
    continue_final: bool = Field(False, description="Ours: go on with the last message, which is the assistant's.")
    max_tokens: int = Field(256, ge=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: list[Stop] = Field(default_factory=list, max_length=16)
    columns: int = Field(1, ge=1, le=16, description="Ours: how many requests the page sends at this moment.")

    @model_validator(mode="before")
    @classmethod
    def _as_openai_has_it(cls, body: Any) -> Any:
        """As `plain_body`."""
        return plain_body(body)

    @model_validator(mode="after")
    def _what_goes_together(self) -> "ChatAsk":
        """Beams make one answer, and tell no chances."""
        if self.num_beams > 1 and (self.n > 1 or self.logprobs):
            raise ValueError("with num_beams there is one answer and no logprobs")
        if self.continue_final and self.messages[-1].get("role") != "assistant":
            raise ValueError("continue_final needs a last message of the assistant")
        return self


class AdapterAsk(BaseModel):
    """The body of POST /adapters."""

    name: str = Field(max_length=64)
    folder: str = Field(max_length=4096)
    quantization: Literal["none", "int8", "nf4"] = Field("none", description="How its run had the base model.")
    double: bool = True
    template: str | None = Field(None, max_length=1_000_000, description="Where none lies beside the adapter.")


def read(shape: type[Ask], raw: bytes) -> Ask:
    """The body as `shape`. Raises Refused with the first fault."""
    try:
        return shape.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Refused(f"`{where}`: {first['msg']}.", "Correct it and ask again.", field=where) from error


def error_body(error: StudioError) -> dict[str, Any]:
    """An error in OpenAI's shape; `problem` and `remedy` stand beside for our own client."""
    kinds = {404: "not_found_error", 503: "server_error"}
    told = {
        "message": f"{error.problem} {error.remedy}".strip(),
        "type": kinds.get(error.status, "invalid_request_error"),
        "param": error.field or None,
        "code": "model_not_found" if error.status == 404 else None,
        "problem": error.problem,
        "remedy": error.remedy,
    }
    return {"error": told}


def event(data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
