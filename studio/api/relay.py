"""From the engine to a client: its events as they come, without a thread for each of them."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import httpx
from anyio import CapacityLimiter, to_thread

from studio.core.engine_client import SILENCE_S, EngineClient
from studio.core.errors import NotFound, Refused, StudioError, Unavailable
from studio.core.services import Services
from studio.core.use_cases.named_models import NamedModel, open_named

MOST_OPENINGS = 32
WAITING_EVENTS = 64
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


async def ask(client: EngineClient, bodies: Sequence[dict[str, Any]], stack: AsyncExitStack) -> list[httpx.Response]:
    """The engine's answers to these questions, begun; `stack` ends them. Raises what it refuses, before any of it."""
    with translated():
        http = await stack.enter_async_context(client.async_http(SILENCE_S))
        asked = await to_thread.run_sync(lambda: [encoded(client.told(body)) for body in bodies])
        streams = (http.stream("POST", "/v1/chat/completions", content=body, headers=AS_JSON) for body in asked)
        answers = [await stack.enter_async_context(stream) for stream in streams]
        for answer in answers:
            await check(answer)
        return answers


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


def as_error(status: int, told: dict[str, Any]) -> StudioError:
    """The engine's error as ours. Another server in its place knows no `problem`."""
    kind = NotFound if status == 404 else Unavailable if status >= 500 else Refused
    words = str(told.get("problem") or told.get("message") or "It can not be answered.")
    return kind(words, str(told.get("remedy") or ""), field=str(told.get("param") or ""))


async def events(answers: Sequence[httpx.Response]) -> AsyncGenerator[tuple[int, Event], None]:
    """What comes from all answers, as (number, event), each up to its last. Raises the first fault of any."""
    coming: asyncio.Queue[tuple[int, Event | StudioError | None]] = asyncio.Queue(WAITING_EVENTS)
    pumps = [asyncio.create_task(pump(number, answer, coming)) for number, answer in enumerate(answers)]
    going = len(pumps)
    try:
        while going:
            number, said = await coming.get()
            if isinstance(said, StudioError):
                raise said
            if said is None:
                going -= 1
            else:
                yield number, said
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def pump(number: int, answer: httpx.Response, coming: "asyncio.Queue[Any]") -> None:
    """Put the events of one answer into the queue, and None after the last, or what went wrong."""
    try:
        async for event in read_events(answer):
            await coming.put((number, event))
        await coming.put((number, None))
    except StudioError as error:
        await coming.put((number, error))
    except Exception as error:  # a bug: the client must not wait for ever, and the log gets it
        await coming.put((number, gone()))
        raise error


async def read_events(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of one answer up to the one with a reason to end. Raises Unavailable where it breaks off."""
    ended = False
    with translated():
        async for line in answer.aiter_lines():
            if line.startswith(":"):
                yield {}
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise as_error(503, event["error"])
            ended = ended or any(choice.get("finish_reason") for choice in event["choices"])
            yield event
    if not ended:
        raise gone()


def gone() -> Unavailable:
    """Said where the engine died or was never there."""
    return Unavailable("The playground's process does not answer.", "Ask again; it starts anew.")


@contextmanager
def translated() -> Iterator[None]:
    """Every fault of the connection as one sentence."""
    try:
        yield
    except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
        raise gone() from error
