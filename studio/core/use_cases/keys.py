"""Keys for programs: made, shown once, looked up by their hash, revoked."""

import contextlib
import hashlib
import secrets
import time

from studio.core.errors import Refused, Unavailable
from studio.core.services import Services
from studio.core.stores.keys import ApiKey

PREFIX = "tsk-"
LONGEST_NAME = 60
NOTED_SECONDS = 60.0
"""A use is written down at most so often: a write costs an fsync, and nobody needs the second."""


def make_key(services: Services, owner: str, name: str) -> tuple[ApiKey, str]:
    """A new key and its secret, which is kept nowhere. Raises `Refused` or `Conflict`."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise Refused(f"A key needs a name of 1 to {LONGEST_NAME} characters.", "Name the program that will use it.")
    secret = PREFIX + secrets.token_urlsafe(32)
    return services.keys.add(owner, name, secret[-4:], digest_of(secret)), secret


def digest_of(secret: str) -> str:
    """What is kept of a key. One round is enough: it holds 256 random bits, nobody guesses them."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def find_key(services: Services, secret: str) -> ApiKey | None:
    """The key of this secret, its use noted; None where there is none, or it was revoked."""
    if not secret.startswith(PREFIX):
        return None
    key = services.keys.by_digest(digest_of(secret))
    if key is not None and time.time() - (key.last_used_at or 0.0) > NOTED_SECONDS:
        with contextlib.suppress(Unavailable):  # a busy database: the question is answered all the same
            services.keys.used(key.id)
    return key


def needs_key(services: Services) -> bool:
    """Whether programs must bring a key: others than this machine can reach the studio."""
    return not services.settings.is_loopback
