"""The gate before everything: who may call (Host), from where (Origin), to which doors, with which headers out.

Pure ASGI, so that streams pass untouched; only HTML pages are held, to put the nonce in.
"""

import asyncio
import json
import logging
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.core.settings import Settings
from studio.shell.crowd import Crowd
from studio.shell.headers import DROPPED, OPEN_TO_OTHERS, STANDING, mend_page, policy

log = logging.getLogger("tunesmith.web")

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ENCODED = ("/assets/", "/static/", "/theme.css")  # may be compressed by Gradio: never HTML

# Of Gradio's own doors these are open; its files, proxies, logins, traces, docs and direct calls are not.
GRADIO = re.compile(
    r"/gradio_api/(queue/(join|data)|cancel|heartbeat/[\w-]+|upload|upload_progress|startup-events|app_id|info|theme\.css)/?"
)
SHUT = re.compile(r"/(login|logout|monitoring|svelte|pwa_icon|openapi\.json|docs|redoc)(/.*)?")

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+?)\.?(?::(\d{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """An answer of the gate itself."""

    status: int
    problem: str
    remedy: str


FOREIGN_HOST = Refusal(
    400, "This studio does not answer to that address.", "Use the address it printed at its start, or allow the name."
)
FOREIGN_ORIGIN = Refusal(403, "This request came from another site.", "Open the studio itself and try again.")
TOO_MANY = Refusal(429, "Too many files are being uploaded from here at once.", "Wait for one to end, then try again.")
NOTHING = Refusal(404, "Nothing is here.", "Go back to the first page.")


def host_names(settings: Settings) -> frozenset[str]:
    """The names, lowercase and without ports, by which the studio may be called."""
    more = [name.strip() for name in settings.allowed_hosts.split(",")]
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    return frozenset(name.lower().rstrip(".") for name in (*LOOPBACK, own, *more) if name)


def host_name(header: str) -> str:
    """The name in a Host header, lowercase; empty where the header is malformed."""
    found = _HOST.fullmatch(header)
    return found.group(1).lower() if found else ""


def values(scope: Scope, name: bytes) -> list[str]:
    """All values of a request header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def is_foreign(scope: Scope) -> bool:
    """Whether a browser says that another site sent this. A request without Origin and Sec-Fetch-Site is not."""
    if any(site not in {"same-origin", "none"} for site in values(scope, b"sec-fetch-site")):
        return True
    own = {f"{scheme}://{host.lower()}" for scheme in ("http", "https") for host in values(scope, b"host")}
    return any(origin.lower() not in own for origin in values(scope, b"origin"))


def is_shut(path: str) -> bool:
    """Whether this is a door of Gradio's that the studio does not open."""
    if "gradio_api" in path:
        return not GRADIO.fullmatch(path)
    return bool(SHUT.fullmatch(path))


def judge(scope: Scope, names: frozenset[str]) -> Refusal | None:
    """What the gate has against this request; None lets it pass."""
    hosts = values(scope, b"host")
    if len(hosts) != 1 or host_name(hosts[0]) not in names:
        return FOREIGN_HOST
    changes = scope["type"] == "websocket" or scope["method"] not in SAFE
    if (changes or is_api(scope)) and is_foreign(scope):  # on loopback the API asks no key, so no page may ask it
        return FOREIGN_ORIGIN
    return NOTHING if is_shut(scope["path"]) else None


def is_api(scope: Scope) -> bool:
    """Whether this is for the OpenAI-shaped interface."""
    return bool(scope["path"] == "/v1" or scope["path"].startswith("/v1/"))


def trimmed(scope: Scope) -> Scope:
    """The request as the app sees it: no forwarded names (Gradio trusts them), no compression of what may be HTML."""
    plain = not scope["path"].startswith(ENCODED)
    kept = [
        (key, value)
        for key, value in scope["headers"]
        if not key.startswith(b"x-forwarded-") and not (plain and key == b"accept-encoding")
    ]
    return {**scope, "headers": kept}


@dataclass
class Answer:
    """One answer on its way out: gets the headers, and the nonce where it is a page."""

    send: Send
    hashes: tuple[str, ...]
    extra_head: bytes
    started: bool = False
    ended: bool = False
    held: Message | None = None  # the start of an HTML answer, until its body is whole
    body: list[bytes] = field(default_factory=list)

    async def __call__(self, message: Message) -> None:
        """Pass one ASGI message on, or hold it."""
        if message["type"] == "http.response.start":
            self.started = True
            if is_page(message["headers"]):
                self.held = message
                return
            message = {**message, "headers": self.dressed(message["headers"])}
        elif message["type"] == "http.response.body" and self.held is not None:
            self.body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self.release(self.held)
            return
        elif message["type"] == "http.response.body":
            self.ended = not message.get("more_body", False)
        await self.send(message)

    async def close(self) -> None:
        """End a stream that was begun and never ended."""
        if self.started and not self.ended and self.held is None:
            await self({"type": "http.response.body", "body": b""})

    async def release(self, start: Message) -> None:
        """Send the page that was held."""
        nonce, body = secrets.token_urlsafe(16), b"".join(self.body)
        headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
        headers.append((b"cache-control", b"no-store"))
        if body:
            body = mend_page(body, nonce, self.extra_head)
            headers.append((b"content-length", str(len(body)).encode()))
        await self.send({**start, "headers": self.dressed(headers, nonce)})
        await self.send({"type": "http.response.body", "body": body})

    def dressed(self, headers: Iterable[tuple[bytes, bytes]], nonce: str = "") -> list[tuple[bytes, bytes]]:
        """The headers with ours added and Gradio's openings to other origins taken out."""
        kept = [
            (key, value)
            for key, value in headers
            if key.lower() not in DROPPED and not key.lower().startswith(OPEN_TO_OTHERS)
        ]
        return [*kept, *STANDING, (b"content-security-policy", policy(nonce, self.hashes))]


def is_page(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer is HTML."""
    return any(key.lower() == b"content-type" and value.lower().startswith(b"text/html") for key, value in headers)


class Gate:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, settings: Settings, hashes: tuple[str, ...] = (), extra_head: bytes = b"") -> None:
        """`hashes` are CSP sources of inline scripts of ours; `extra_head` is put into every page's head."""
        self.app = app
        self.names = host_names(settings)
        self.crowd = Crowd()
        self.hashes = hashes
        self.extra_head = extra_head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge, and pass on what may pass."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        answer = Answer(send, self.hashes, self.extra_head)
        if refusal := judge(scope, self.names):
            await refuse(scope, answer, refusal)
            return
        with self.crowd.seat(scope) as has_seat:
            if has_seat:
                await self.pass_on(scope, receive, send, answer)
            else:
                await refuse(scope, answer, TOO_MANY)

    async def pass_on(self, scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
        """Let the app answer, and turn what nobody caught into a 500 with a short id."""
        try:
            await self.app(trimmed(scope), receive, answer if scope["type"] == "http" else send)
        except asyncio.CancelledError:  # the server ends, and this stream had its 3 s
            await answer.close()
        except Exception as error:
            await break_off(scope, answer, error)


async def break_off(scope: Scope, answer: Answer, error: Exception) -> None:
    """Answer for an exception that nobody caught: the log gets all of it, the person a short id.

    A stream of Gradio for a tab that the server no longer knows (it was restarted) ends by a 404 after its start; it
    has told the page itself, so it is only closed.
    """
    if answer.started and isinstance(error.__cause__, HTTPException):
        await answer.close()
        return
    number = secrets.token_hex(4)
    log.error("A request broke (%s): %s", number, scope["type"], exc_info=error)
    if scope["type"] == "http" and not answer.started:
        remedy = f"Try again. The log has it under {number}."
        await refuse(scope, answer, Refusal(500, "Something broke inside the studio.", remedy))


async def refuse(scope: Scope, answer: Answer, refusal: Refusal) -> None:
    """Answer with a sentence as JSON, or close a socket before it opens (which is a 403)."""
    if scope["type"] == "websocket":
        await answer.send({"type": "websocket.close", "code": 1008})
        return
    told: dict[str, object] = {"problem": refusal.problem, "remedy": refusal.remedy}
    if is_api(scope):
        told = {"error": in_openai_shape(refusal)}
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await answer({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await answer({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def in_openai_shape(refusal: Refusal) -> dict[str, object]:
    """A refusal as an OpenAI client reads it."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {"message": f"{refusal.problem} {refusal.remedy}", "type": kind, "param": None, "code": None}
