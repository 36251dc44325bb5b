"""What a person may do to a run that is there."""

import time

from studio.core.errors import Conflict
from studio.core.services import Services
from studio.core.states import ENDED
from studio.core.stores.runs import Event, Run


def stop_run(services: Services, owner: str, run_id: str) -> Run:
    """Ask the trainer to stop, or take a waiting run out of the line. Raises `Conflict` where it has ended."""
    for _ in range(3):  # the state may move on between the look and the write
        run = services.runs.get(run_id, owner)
        if run.state in ENDED:
            raise Conflict("This run has already ended.", "Nothing needs to be stopped.")
        if run.state == "stopping":
            return run
        if run.is_live:
            event = Event(time.time(), "stopping", "Stop asked", "It ends after the batch it is working on.")
            moved = services.runs.move(run, "stopping", event)
        else:
            event = Event(time.time(), "stopped", "Stopped", "Taken out of the line before it began.")
            words = "Stopped by you before it began."
            moved = services.runs.move(run, "stopped", event, reason="asked", problem=words, ended_at=time.time())
        if moved:
            return services.runs.get(run_id, owner)
    raise Conflict("The run changed while it was being stopped.", "Try again.")
