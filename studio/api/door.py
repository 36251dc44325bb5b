"""Who asks: every route of `/v1` begins here. A key says whose program it is; on loopback nobody needs one."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread
from fastapi import Request

from studio.api.allowance import Allowance
from studio.api.errors import ApiError
from studio.core.services import Services
from studio.core.use_cases.keys import find_key, needs_key
from studio.shell.session import owner_of

log = logging.getLogger("tunesmith.api")
LONGEST_KEY = 200


@dataclass(frozen=True)
class Visitor:
    """Whose program asks, and by what it is counted."""

    owner: str
    who: str


class Door:
    """The authorisation of every route: a FastAPI dependency that gives the visitor, or raises ApiError."""

    def __init__(self, services: Services, allowance: Allowance) -> None:
        """`allowance` counts the calls."""
        self._services, self._allowance = services, allowance

    async def __call__(self, request: Request) -> Visitor:
        """401 without a key that works, where one is needed; 429 for who comes too often."""
        secret = secret_of(request.headers.getlist("authorization"))
        key = await to_thread.run_sync(find_key, self._services, secret) if secret else None
        if key is not None:
            visitor = Visitor(key.owner, key.id)
        elif needs_key(self._services):
            address = request.client.host if request.client else ""
            self._allowance.call(f"stranger {address}")  # who tries keys is slowed down like everybody
            log.warning("A question of %s came with %s.", address, "a key that opens nothing" if secret else "no key")
            raise no_entry(bool(secret))
        else:
            visitor = Visitor(owner_of(request), "local")
        self._allowance.call(visitor.who)
        return visitor


def secret_of(headers: Sequence[str]) -> str:
    """The key in an Authorization header; empty where there is none, or nothing that could be one."""
    kind, _, secret = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    secret = secret.strip()
    return secret if kind.lower() == "bearer" and len(secret) <= LONGEST_KEY else ""


def no_entry(came_with_one: bool) -> ApiError:
    """401, as OpenAI says it."""
    problem = "This key opens nothing here." if came_with_one else "No API key came with the question."
    remedy = "Make one in the studio, at /keys, and send it as Authorization: Bearer KEY."
    return ApiError(401, "invalid_api_key", problem, remedy, www_authenticate="Bearer")
