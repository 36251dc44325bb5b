"""A process that adds 1 to a row's number again and again: `python hammer.py DATABASE TIMES`."""

import sys
from pathlib import Path

from sqlalchemy import select

from studio.core.db import Database
from studio.core.tables import runs

if __name__ == "__main__":
    database = Database(Path(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        with database.write() as connection:
            seen = connection.execute(select(runs.c.step)).scalar_one()
            connection.execute(runs.update().values(step=seen + 1))
