"""What a person may do to a run that is there, and to the line of those that wait."""

import time
from typing import Any

from studio.core.errors import Conflict
from studio.core.remedies import changed
from studio.core.services import Services
from studio.core.states import ENDED, KEEP_BEST
from studio.core.stores.runs import Event, Run
from studio.core.use_cases import storage
from studio.core.use_cases.submit import Order, submit


def stop_run(services: Services, owner: str, run_id: str, keep_best: bool = False) -> Run:
    """Ask the trainer to stop, or take a waiting run out of the line. Raises `Conflict` where it has ended.

    With `keep_best` the weights of its best check become the adapter, not the last ones: only while it trains.
    """
    for _ in range(3):  # the state may move on between the look and the write
        run = services.runs.get(run_id, owner)
        if run.state in ENDED:
            raise Conflict("This run has already ended.", "Nothing needs to be stopped.")
        if run.state == "stopping":
            return run
        if keep_best and run.state != "running":
            raise Conflict("This run does not train just now.", "Stop it, or wait until it trains.")
        moved = _ask_to_stop(services, run, keep_best) if run.is_live else _take_out(services, run)
        if moved:
            return services.runs.get(run_id, owner)
    raise Conflict("The run changed while it was being stopped.", "Try again.")


def _ask_to_stop(services: Services, run: Run, keep_best: bool) -> bool:
    """The wish, in the run's row: its trainer looks there."""
    words = "It ends after the batch it is working on"
    words += ", and the weights of its best check are kept." if keep_best else "."
    event = Event(time.time(), "stopping", "Stop asked", words)
    return services.runs.move(run, "stopping", event, reason=KEEP_BEST if keep_best else None)


def _take_out(services: Services, run: Run) -> bool:
    """End a run that waits."""
    words = f"Stopped by you at step {run.step:,}, while it waited." if run.step else "Stopped by you before it began."
    event = Event(time.time(), "stopped", "Stopped", "Taken out of the line.")
    return services.runs.move(run, "stopped", event, reason="asked", problem=words, remedy=None, ended_at=time.time())


def hold_run(services: Services, owner: str, run_id: str, held: bool) -> Run:
    """Keep a waiting run from starting, or let it go. Raises `Conflict` where it does not wait any more."""
    run = services.runs.get(run_id, owner)
    if run.held != held and not services.line.hold(run_id, owner, held):
        raise Conflict("This run does not wait any more.", "Stop it, if it shall not go on.")
    services.bell.ring_runs()
    return services.runs.get(run_id, owner)


def move_run(services: Services, owner: str, run_id: str, by: int) -> Run:
    """One place earlier (-1) or later (1) in the person's line. Raises `Conflict` where there is no such place."""
    run = services.runs.get(run_id, owner)
    if by not in (-1, 1) or not services.line.move(run_id, owner, by):
        raise Conflict(f"{run.name} can not be moved any further.", "Look at the line again: it may have moved on.")
    return services.runs.get(run_id, owner)


def pause_queue(services: Services, owner: str, paused: bool) -> None:
    """Let nothing new start, or go on. What runs is not touched."""
    del owner  # whoever may use this studio may pause it, as long as it has no logins
    services.line.pause(paused)
    services.bell.ring_runs()


def retry_run(
    services: Services, owner: str, run_id: str, key: str | None, change: dict[str, Any] | None = None
) -> Run:
    """A new run of the same model, data and config, with `change` merged in. Raises what `submit` raises."""
    run = services.runs.get(run_id, owner)
    config = changed(run.config, change or {})
    return submit(services, owner, Order(run.name, run.dataset_version_id, config, key))


def delete_run(services: Services, owner: str, run_id: str) -> None:
    """Delete an ended run with its files. Raises `Conflict` while it waits or works."""
    run = services.runs.get(run_id, owner)
    if not services.tombstones.bury(run.id, owner):
        raise Conflict(f"{run.name} has not ended.", "Stop it first, then delete it.")
    storage.finish_removals(services.artifacts, services.tombstones)


def clean_checkpoints(services: Services, owner: str, run_id: str) -> int:
    """Remove the checkpoints of a run that has ended; gives the bytes that came free. Raises `Conflict` before."""
    run = services.runs.get(run_id, owner)
    if run.state not in ENDED:
        raise Conflict(f"{run.name} may still need its checkpoints.", "Stop it first.")
    return storage.remove_checkpoints(services.artifacts, run.id)
