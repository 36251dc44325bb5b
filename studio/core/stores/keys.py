"""Keys of the API. A key is known by its hash alone; what it opens is its person's."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from studio.core.artifacts import new_id
from studio.core.db import Database
from studio.core.errors import Conflict, NotFound
from studio.core.tables import api_keys

MOST_KEYS = 12
"""Of one person: each stands in a row of the page."""


@dataclass(frozen=True)
class ApiKey:
    """One key that works. `hint` is the end of it; times are UTC seconds."""

    id: str
    owner: str
    name: str
    hint: str
    created_at: float
    last_used_at: float | None


class KeyStore:
    """Rows of `api_keys`; a revoked one stays as a row and opens nothing."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def add(self, owner: str, name: str, hint: str, digest: str) -> ApiKey:
        """A new key. Raises `Conflict` where the person has as many as can be."""
        key = ApiKey(new_id(), owner, name, hint, time.time(), None)
        count = select(func.count()).where(api_keys.c.owner == owner, api_keys.c.revoked_at.is_(None))
        with self._db.write("key.add") as connection:
            if connection.execute(count).scalar_one() >= MOST_KEYS:
                raise Conflict(f"You have {MOST_KEYS} keys, as many as can be.", "Revoke one that is not used.")
            connection.execute(api_keys.insert().values(**vars(key), digest=digest))
        return key

    def of(self, owner: str) -> list[ApiKey]:
        """A person's keys that work, the newest first."""
        query = _working().where(api_keys.c.owner == owner).order_by(api_keys.c.created_at.desc())
        with self._db.read() as connection:
            return [ApiKey(*row) for row in connection.execute(query)]

    def by_digest(self, digest: str) -> ApiKey | None:
        """The key with this SHA-256, where it works."""
        with self._db.read() as connection:
            row = connection.execute(_working().where(api_keys.c.digest == digest)).first()
        return ApiKey(*row) if row else None

    def used(self, key_id: str) -> None:
        """Somebody came in with it now."""
        with self._db.write("key.used") as connection:
            connection.execute(api_keys.update().where(api_keys.c.id == key_id).values(last_used_at=time.time()))

    def revoke(self, key_id: str, owner: str) -> None:
        """From now on it opens nothing. Raises `NotFound`, also for another person's key."""
        mine = (api_keys.c.id == key_id, api_keys.c.owner == owner, api_keys.c.revoked_at.is_(None))
        with self._db.write("key.revoke") as connection:
            found = connection.execute(api_keys.update().where(*mine).values(revoked_at=time.time()))
        if not found.rowcount:
            raise NotFound("There is no such key.", "It may have been revoked already.")


def _working() -> Any:
    """The columns of `ApiKey`, of keys that were not revoked."""
    return select(*(api_keys.c[name] for name in ApiKey.__dataclass_fields__)).where(api_keys.c.revoked_at.is_(None))
