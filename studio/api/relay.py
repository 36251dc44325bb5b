"""From the engine to a client: its events as they come, without a thread for each of them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import httpx
from anyio import CapacityLimiter, to_thread

from studio.core.engine_client import SILENCE_S, EngineClient, as_error, gone, translated
from studio.core.errors import Refused
from studio.core.services import Services
from studio.core.use_cases.named_models import NamedModel, open_named

MOST_OPENINGS = 32
AS_JSON = {"content-type": "application/json"}
Event = dict[str, Any]
"""One of the engine's events; an empty one says that it still works."""


class Opener:
    """Brings the engine up. Questions for one model that come together wait for one opening."""

    def __init__(self, services: Services) -> None:
        """Threads of its own, that end with the process: an opening may take minutes."""
        self._services = services
        self._limiter = CapacityLimiter(MOST_OPENINGS)
        self._going: dict[tuple[str, str], asyncio.Task[EngineClient]] = {}

    async def open(self, owner: str, model: NamedModel) -> EngineClient:
        """The engine with this model. Who leaves while waiting does not end it for the others."""
        key = (owner, model.name)
        task = self._going.get(key)
        if task is None:
            call = to_thread.run_sync(open_named, self._services, model, limiter=self._limiter)
            task = self._going[key] = asyncio.ensure_future(call)
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: tuple[str, str], task: "asyncio.Task[EngineClient]") -> None:
        del self._going[key]
        if not task.cancelled():
            task.exception()  # looked at: nobody may be left to hear of it


async def ask(client: EngineClient, body: dict[str, Any], stack: AsyncExitStack) -> httpx.Response:
    """The engine's answer to a question, begun; `stack` ends it. Raises what it refuses, before any of it."""
    with translated():
        http = await stack.enter_async_context(client.async_http(SILENCE_S))
        asked = encoded(await to_thread.run_sync(client.told, body))
        stream = http.stream("POST", "/v1/chat/completions", content=asked, headers=AS_JSON)
        answer = await stack.enter_async_context(stream)
        await check(answer)
        return answer


def encoded(body: dict[str, Any]) -> bytes:
    """The question as JSON. Raises `Refused` where something in it has none."""
    try:
        return json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(
            "The question holds a number or a character that is none.", "Correct it and ask again."
        ) from error


async def check(answer: httpx.Response) -> None:
    """Raise what the engine has against a question, in its words."""
    if answer.status_code < 400:
        return
    await answer.aread()
    raise as_error(answer.status_code, answer.json().get("error") or {})


async def events(answer: httpx.Response, choices: int) -> AsyncGenerator[Event, None]:
    """The events of an answer. Raises Unavailable where it breaks off before the last of its choices has ended."""
    with translated():
        async for line in answer.aiter_lines():
            if line.startswith(":"):
                yield {}
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise as_error(503, event["error"])
            choices -= sum(bool(choice.get("finish_reason")) for choice in event["choices"])
            yield event
    if choices > 0:
        raise gone()
