"""The engine's HTTP side: routes on a Unix socket that only its owner may open, and the process's life."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import psutil
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from studio.core.errors import NotFound, Refused, StudioError
from worker.engine.answer import Answer, Asked, Said
from worker.engine.asks import AdapterAsk, ChatAsk, error_body, event, read
from worker.engine.batcher import Batcher
from worker.engine.models import LoadedModel
from worker.engine.prompts import Prompts, hash_of
from worker.engine.row import Row
from worker.engine.sampling import Sampling

log = logging.getLogger(__name__)
MOST_ADAPTERS = 16


@dataclass
class Engine:
    """What the routes share."""

    name: str
    loaded: LoadedModel
    prompts: Prompts
    batcher: Batcher
    used: float = field(default_factory=time.monotonic)

    async def healthz(self, _request: Request) -> Response:
        """What is loaded, and how many requests wait or run. Looking does not keep the engine awake."""
        scheduler = self.batcher.scheduler
        told = {
            "ready": True,
            "base": self.name,
            "dtype": str(self.loaded.dtype).removeprefix("torch."),
            "adapters": list(self.loaded.adapters),
            "busy": self.batcher.busy > 0,
            "requests": self.batcher.busy,
            "queue": len(scheduler.waiting),
            "batch": scheduler.active,
            "tokens_per_s": scheduler.gauge.per_second,
            "tokens": scheduler.gauge.total,
            "memory": psutil.Process().memory_info().rss,
            "kept": scheduler.kept.size,
        }
        return JSONResponse(told)

    async def attach(self, request: Request) -> Response:
        """Attach an adapter between two tokens; one that is there already costs nothing."""
        self.used = time.monotonic()
        ask = read(AdapterAsk, await request.body())
        folder, bits = Path(ask.folder), (ask.quantization, ask.double)

        def attach() -> None:
            if self.loaded.use_bits(bits):
                self.batcher.scheduler.kept.clear()
            self.loaded.attach(ask.name, folder)

        if not self.loaded.holds(ask.name, folder):
            alone = self.loaded.would_read_again(bits) or ask.name in self.loaded.adapters
            await asyncio.wrap_future(self.batcher.call(attach, alone))
            await asyncio.to_thread(self.prompts.learnt_with, ask.name, folder, ask.template)
            await self._shed()
        return JSONResponse({"name": ask.name})

    async def _shed(self) -> None:
        """Forget the adapters that were not asked for longest, where there are too many."""
        for name in self.loaded.beyond(MOST_ADAPTERS):
            if not self.batcher.answers(self.loaded.key(name)):
                await asyncio.wrap_future(self.batcher.call(partial(self.loaded.detach, name), alone=True))

    async def detach(self, request: Request) -> Response:
        """Forget an adapter once nobody is being answered."""
        name = request.path_params["name"]
        if name not in self.loaded.adapters:
            raise NotFound(f"No adapter called '{name[:64]}' is loaded.")
        await asyncio.wrap_future(self.batcher.call(partial(self.loaded.detach, name), alone=True))
        return JSONResponse({"name": name})

    async def prompt(self, request: Request) -> Response:
        """What the model would read, without an answer."""
        self.used = time.monotonic()
        ask = read(ChatAsk, await request.body())
        self.loaded.key(ask.model)
        text, ids = await self._prompt(ask)
        return JSONResponse({"text": text, "tokens": len(ids), "prompt_hash": hash_of(ids)})

    async def _prompt(self, ask: ChatAsk) -> tuple[str, list[int]]:
        def made() -> tuple[str, list[int]]:
            text = self.prompts.prompt(ask.messages, ask.model, ask.tools, ask.continue_final)
            return text, self.prompts.encode(text)

        return await asyncio.to_thread(made)

    async def chat(self, request: Request) -> Response:
        """Answer a chat, streamed or whole. A client that goes away ends its answer."""
        self.used = time.monotonic()
        ask = read(ChatAsk, await request.body())
        key = self.loaded.key(ask.model)
        _text, prompt = await self._prompt(ask)
        asked = Asked(ask.model, len(prompt), hash_of(prompt), ask.stop)
        answer = Answer(asked, ask.n, self.prompts.text, asyncio.get_running_loop())
        rows = self._rows(ask, key, prompt, answer)
        for row in rows:
            self.batcher.ask(row)
        watch = asyncio.create_task(_stop_when_gone(request, rows))
        if ask.stream:
            return StreamingResponse(_events(answer, rows, watch), media_type="text/event-stream")
        return await _whole(answer, rows, watch)

    def _rows(self, ask: ChatAsk, key: str, prompt: list[int], answer: Answer) -> list[Row]:
        room = self.prompts.context - len(prompt)
        if room < 1:
            raise Refused(
                f"The chat has {len(prompt):,} tokens; the model reads {self.prompts.context:,}.", "Begin a new one."
            )
        if not prompt:
            raise Refused("The chat is empty to this model.", "Write something.")
        seed = secrets.randbits(31) if ask.seed is None else ask.seed
        names = Sampling.__dataclass_fields__
        return [
            Row(
                prompt=prompt,
                key=key,
                listener=choice,
                ends=self.prompts.ends_of(ask.model),
                room=min(ask.max_tokens, room),
                sampling=Sampling(**{name: getattr(ask, name) for name in names}),
                seed=(seed + choice.index) % 2**63,
                columns=max(ask.columns, ask.n),
                beams=ask.num_beams,
                chances=ask.top_logprobs if ask.logprobs else None,
            )
            for choice in answer.choices
        ]


def _stop(rows: list[Row]) -> None:
    for row in rows:
        row.stopped.set()


async def _stop_when_gone(request: Request, rows: list[Row]) -> None:
    """End the rows within one token of their connection's end."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    _stop(rows)


async def _events(answer: Answer, rows: list[Row], watch: "asyncio.Task[None]") -> AsyncIterator[str]:
    """The answer as server-sent events, closed by [DONE]."""
    try:
        for choice in range(len(rows)):
            yield event(answer.chunk(Said(choice=choice), {"role": "assistant", "content": ""}))
        async for said in answer.pieces():
            if said.text or (said.chances and not said.reason):
                yield event(answer.chunk(replace(said, reason=""), {"content": said.text}))
            if said.reason:
                left = None if said.text else said.chances
                yield event(answer.chunk(replace(said, chances=left), {}))
            elif said.error:
                yield event(error_body(said.error))
            elif not said.text:
                yield ": still here\n\n"
        yield "data: [DONE]\n\n"
    finally:
        _stop(rows)
        watch.cancel()


async def _whole(answer: Answer, rows: list[Row], watch: "asyncio.Task[None]") -> Response:
    try:
        told = [said async for said in answer.pieces()]
    finally:
        _stop(rows)
        watch.cancel()
    fault = next((said.error for said in told if said.error), None)
    if fault:
        raise fault
    return JSONResponse(answer.whole(told))


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StudioError)
    return JSONResponse(error_body(error), status_code=error.status)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(error_body(Refused(f"{error.detail}.")), status_code=error.status_code)


def build_app(engine: Engine) -> Starlette:
    """The routes."""
    routes = [
        Route("/healthz", engine.healthz, methods=["GET"]),
        Route("/adapters", engine.attach, methods=["POST"]),
        Route("/adapters/{name}", engine.detach, methods=["DELETE"]),
        Route("/v1/prompt", engine.prompt, methods=["POST"]),
        Route("/v1/chat/completions", engine.chat, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={StudioError: _refused, HTTPException: _http_error})
