"""The routes below `/v1`. Each one begins at the door; what went wrong leaves in OpenAI's shape."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from studio.api import relay
from studio.api.allowance import Allowance
from studio.api.answers import Telling, model_object
from studio.api.asks import ChatAsk, read_ask
from studio.api.door import Door, Visitor
from studio.api.errors import ApiError, answer_of
from studio.api.tool_calls import with_calls
from studio.core.errors import StudioError
from studio.core.services import Services
from studio.core.use_cases.named_models import find_model, models_of

BODY_SECONDS = 30.0
"""A question that is not here after this long is not waited for."""
STREAMED = {"cache-control": "no-store", "x-accel-buffering": "no"}
NOBODY_READS = 499
Found = TypeVar("Found")


class OpenAIRoute(APIRoute):
    """A route whose errors leave in OpenAI's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with our door around it."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except StudioError as error:
                return answer_of(error)

        return guarded


class Relayed(StreamingResponse):
    """A stream, and what ends with it, however it ends: read whole, left by the client, or never begun."""

    def __init__(self, pieces: AsyncIterator[str], kept: AsyncExitStack) -> None:
        """`kept` holds the engine's answers and the seats."""
        super().__init__(pieces, media_type="text/event-stream", headers=STREAMED)
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, then let go."""
        async with self._kept:
            await super().__call__(scope, receive, send)


def api_router(services: Services) -> APIRouter:
    """`/v1/models`, `/v1/models/{name}`, `/v1/chat/completions`; all else below `/v1` is a 404 of the same shape."""
    settings = services.settings
    allowance = Allowance(settings.api_per_minute, settings.api_at_once)
    visitors, opener = Door(services, allowance), relay.Opener(services)
    router = APIRouter(prefix="/v1", route_class=OpenAIRoute)
    Guest = Annotated[Visitor, Depends(visitors)]

    @router.get("/models")
    async def models(visitor: Guest) -> JSONResponse:
        found = await to_thread.run_sync(models_of, services, visitor.owner)
        return JSONResponse({"object": "list", "data": [model_object(model) for model in found]})

    @router.get("/models/{name:path}")
    async def model(name: str, visitor: Guest) -> JSONResponse:
        return JSONResponse(model_object(await to_thread.run_sync(find_model, services, visitor.owner, name)))

    @router.post("/chat/completions")
    async def chat(request: Request, visitor: Guest) -> Response:
        desk = Desk(services, allowance, opener)
        with allowance.seats(visitor.who, 1):  # a question that trickles in takes a seat as well
            asked = read_ask(await body_of(request, settings.api_body_bytes))
        return await while_there(request, desk.answer(asked, visitor))

    @router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def nothing(rest: str, visitor: Guest) -> Response:
        raise ApiError(404, "unknown_url", "There is nothing at this address.", "See /v1/models, /v1/chat/completions.")

    return router


class Desk:
    """Answers one question."""

    def __init__(self, services: Services, allowance: Allowance, opener: relay.Opener) -> None:
        """What all questions share."""
        self._services, self._allowance, self._opener = services, allowance, opener

    async def answer(self, asked: ChatAsk, visitor: Visitor) -> Response:
        """Whole, or as a stream whose beginning is certain. Raises what goes wrong before that."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self._allowance.seats(visitor.who, asked.n))
            model = await to_thread.run_sync(find_model, self._services, visitor.owner, asked.model)
            engine = await self._opener.open(visitor.owner, model)
            answer = await relay.ask(engine, asked.for_engine(model.asked_as), stack)
            events = await stack.enter_async_context(aclosing(relay.events(answer, asked.n)))
            if asked.may_call:
                events = await stack.enter_async_context(aclosing(with_calls(events)))
            telling = Telling(model.name, asked.n)
            if not asked.stream:
                return JSONResponse(await telling.whole(events), headers={"cache-control": "no-store"})
            pieces = telling.pieces(events, asked.stream_options.include_usage)
            return Relayed(pieces, stack.pop_all())


async def body_of(request: Request, most: int) -> bytes:
    """The body. Raises ApiError where it is too large (413) or too slow (408)."""
    body = bytearray()
    too_large = ApiError(413, "too_large", f"A question holds at most {most:,} bytes.", "Shorten it.")
    if int(request.headers.get("content-length") or 0) > most:
        raise too_large
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise too_large
    except TimeoutError as error:
        raise ApiError(408, "too_slow", "The question did not arrive in time.", "Ask again.") from error
    return bytes(body)


async def while_there(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """What `work` gives, unless the client leaves before: then it is ended."""
    task, watch = asyncio.ensure_future(work), asyncio.ensure_future(left(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else Response(status_code=NOBODY_READS)
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def left(request: Request) -> None:
    """Until the client has gone. The body was read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
