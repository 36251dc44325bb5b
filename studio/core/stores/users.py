"""People. One local user for now; every row has an owner from the first day."""

import time

from sqlalchemy.dialects.sqlite import insert

from studio.core.db import Database
from studio.core.tables import users

LOCAL_USER = "local"


class UserStore:
    """Who owns rows."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def ensure_local(self) -> None:
        """Make the local user where it is missing."""
        row = {"id": LOCAL_USER, "name": "You", "created_at": time.time()}
        with self._db.write("user.local") as connection:
            connection.execute(insert(users).values(row).on_conflict_do_nothing())
