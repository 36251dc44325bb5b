"""Whether what a run writes finds room on the data folder's disk."""

from dataclasses import dataclass
from typing import Any

from studio.core.checkpoints import KEPT
from studio.core.config import RunConfig
from studio.core.disk import free_bytes
from studio.core.estimate.written import Written, written
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.use_cases.fit import machine_of


@dataclass(frozen=True)
class Room:
    """What a run writes beside what is free for it: the disk's free bytes less the floor that no run begins below."""

    written: Written
    free: int

    @property
    def fits(self) -> bool:
        """Whether its result finds room."""
        return self.written.needed <= self.free

    @property
    def fits_whole(self) -> bool:
        """Whether its checkpoints do, too."""
        return self.written.total <= self.free


def room_for(services: Services, config: RunConfig, facts: ModelFacts, counts: dict[str, Any]) -> Room | None:
    """What the run writes, and what is free; None where nobody knows how the model is built."""
    if not facts.layers or not facts.shapes:
        return None
    machine = machine_of(services, config)
    dtype = machine.dtype if machine else "float32"
    most = KEPT + 1 + bool(counts["held_out"])  # the newest while the next is written, and that of the best check
    found = written(config, dtype, facts, most, facts.bytes_to_fetch)
    return Room(found, max(0, free_bytes(services.settings) - services.settings.disk_floor_bytes))
