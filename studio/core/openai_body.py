"""How OpenAI's clients write the body of a question, made plain: for the API and for the engine behind it."""

from typing import Any


def plain_body(body: Any) -> Any:
    """`stop` may be one string, `max_tokens` has a newer name that wins, and null means the default."""
    if not isinstance(body, dict):
        return body
    given = {name: value for name, value in body.items() if value is not None}
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    if "max_completion_tokens" in given:
        given["max_tokens"] = given["max_completion_tokens"]
    return given
