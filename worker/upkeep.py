"""What the sweep does for the data folder: its ballast, the records' mark, the scheduled snapshot."""

import logging
import threading

from studio.core.copies import keep_snapshots
from studio.core.db import Database
from studio.core.disk import drop_ballast, keep_ballast
from studio.core.errors import StudioError
from studio.core.mark import MarkKeeper
from studio.core.settings import Settings

log = logging.getLogger("tunesmith.worker")


class Upkeep:
    """One per worker; only its sweep calls it."""

    def __init__(self, settings: Settings, db: Database) -> None:
        """Does nothing yet."""
        self._settings = settings
        self._mark = MarkKeeper(settings, db)
        self._snapshot: threading.Thread | None = None

    def round(self) -> None:
        """All three, each where it is due; a full disk takes the ballast. Raises Unavailable from the records alone."""
        try:
            keep_ballast(self._settings)
            self._mark.keep()
        except OSError as error:
            self.full(error)
        if self._settings.backup_hours and not (self._snapshot and self._snapshot.is_alive()):
            self._snapshot = threading.Thread(target=self._copy, name="snapshot", daemon=True)
            self._snapshot.start()

    def leave(self) -> None:
        """The last word to the mark, before the worker's heartbeat is set to 0."""
        try:
            self._mark.leave()
        except (StudioError, OSError) as error:
            log.warning("the mark of the records was not written: %s", error)

    def full(self, error: Exception) -> None:
        """A write found the disk full: give the ballast up, so that the records can say so."""
        freed = drop_ballast(self._settings)
        log.warning("the disk is full (%s); %d bytes of ballast were given up", error, freed)

    def _copy(self) -> None:
        """In a thread of its own: a big file takes longer than the heartbeat may pause."""
        try:
            if keep_snapshots(self._settings):
                log.info("a snapshot of the records was made")
        except (StudioError, OSError) as error:
            log.warning("no snapshot was made: %s", error)
