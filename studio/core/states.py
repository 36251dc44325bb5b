"""The states of a run and the moves between them. Pure."""

from typing import Literal, get_args

State = Literal[
    "queued", "starting", "running", "finalizing", "succeeded", "stopping", "stopped", "failed", "interrupted"
]
STATES: tuple[State, ...] = get_args(State)
KEEP_BEST = "keep_best"
"""The reason of a run that is stopping: the best check's weights are wanted, not the last ones."""
LIVE: frozenset[State] = frozenset({"starting", "running", "finalizing", "stopping"})
ENDED: frozenset[State] = frozenset({"succeeded", "stopped", "failed"})

MOVES: dict[State, frozenset[State]] = {
    "queued": frozenset({"starting", "stopped", "failed"}),
    "starting": frozenset({"running", "stopping", "failed", "interrupted"}),
    "running": frozenset({"finalizing", "stopping", "failed", "interrupted"}),
    "finalizing": frozenset({"succeeded", "stopping", "failed", "interrupted"}),
    "stopping": frozenset({"stopped", "failed"}),
    "interrupted": frozenset({"queued", "stopped", "failed"}),
    "succeeded": frozenset(),
    "stopped": frozenset(),
    "failed": frozenset(),
}


def may_move(old: State, new: State) -> bool:
    """Whether a run in `old` may become `new`."""
    return new in MOVES[old]
