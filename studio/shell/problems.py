"""Errors at the HTTP doors: a StudioError as it stands; what nobody foresaw is the gate's, as a short id."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from studio.core.errors import Faults, StudioError


def as_json(error: StudioError) -> dict[str, object]:
    """What a StudioError says to a program: `problem`, `remedy`, and all faults of a form."""
    words: dict[str, object] = {"problem": error.problem, "remedy": error.remedy}
    if isinstance(error, Faults):
        words["faults"] = [
            {"field": fault.field, "problem": fault.problem, "remedy": fault.remedy} for fault in error.faults
        ]
    return words


def answer_problems(app: FastAPI) -> None:
    """Let the app's own routes answer a StudioError with its status and its sentences."""

    @app.exception_handler(StudioError)
    async def problem(request: Request, error: StudioError) -> JSONResponse:
        return JSONResponse(as_json(error), error.status)
