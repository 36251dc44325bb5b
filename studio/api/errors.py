"""What went wrong, in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}` and the status clients know."""

from typing import Any

from fastapi.responses import JSONResponse

from studio.core.errors import Conflict, NotFound, StudioError, Unavailable

BUSY_SECONDS = 5
"""When a client should ask again where the engine, the worker or the records are not there."""
KINDS = {401: "authentication_error", 429: "rate_limit_error", 503: "server_error"}


class ApiError(StudioError):
    """A refusal of the interface itself."""

    def __init__(self, status: int, code: str, problem: str, remedy: str = "", **headers: str) -> None:
        """`headers` go out with the answer, their underscores as hyphens."""
        super().__init__(problem, remedy)
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def status_of(error: StudioError) -> int:
    """OpenAI's status of a `StudioError`: input is 400 there, what may work in a moment 503."""
    if isinstance(error, ApiError | NotFound):
        return error.status
    return 503 if isinstance(error, Unavailable | Conflict) else 400


def code_of(error: StudioError) -> str | None:
    """The word that a program can tell it by."""
    if isinstance(error, ApiError):
        return error.code
    if isinstance(error, NotFound):
        return "model_not_found"
    return "engine_unavailable" if status_of(error) == 503 else None


def body_of(error: StudioError) -> dict[str, Any]:
    """The error as clients read it."""
    told = {
        "message": f"{error.problem} {error.remedy}".strip(),
        "type": KINDS.get(status_of(error), "invalid_request_error"),
        "param": error.field or None,
        "code": code_of(error),
    }
    return {"error": told}


def answer_of(error: StudioError) -> JSONResponse:
    """The answer with its status; a client that may try again is told when."""
    headers = dict(error.headers) if isinstance(error, ApiError) else {}
    if status_of(error) == 503:
        headers.setdefault("retry-after", str(BUSY_SECONDS))
    return JSONResponse(body_of(error), status_of(error), headers)
