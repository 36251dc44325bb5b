"""What this machine's finished runs say of the forecasts made before them: a bounded correction."""

import statistics
from dataclasses import dataclass, replace

from studio.core.estimate.memory import Memory
from studio.core.services import Services

MOST = 0.2
"""A correction never goes further than this: what is more than that off is a fault to be found, not a habit."""
NEWEST = 20


@dataclass(frozen=True)
class Experience:
    """How many runs it comes from, and the factors by which memory and time turned out other than forecast."""

    runs: int
    memory: float = 1.0
    seconds: float = 1.0

    def corrected(self, found: Memory) -> Memory:
        """What moves is scaled so that the total is: weights and optimizer are known to the byte."""
        more = round(found.total * (self.memory - 1))
        return replace(found, scratch=max(0, found.scratch + more))


def experience(services: Services, owner: str, kind: str) -> Experience:
    """From the person's newest finished runs on a device of this `kind`."""
    memory, seconds = [], []
    for run in services.runs.of(owner):
        said, found = run.forecast or {}, run.result or {}
        if run.state != "succeeded" or said.get("kind") != kind:
            continue
        used = (found.get("memory") or {}).get("used")
        if used and said.get("bytes_uncorrected"):
            memory.append(used / said["bytes_uncorrected"])
        if found.get("seconds") and said.get("seconds"):
            seconds.append(found["seconds"] / said["seconds"])
    return Experience(max(len(memory), len(seconds)), _factor(memory), _factor(seconds))


def _factor(ratios: list[float]) -> float:
    """The median, drawn towards 1 while it comes from few runs, and bounded."""
    if not ratios:
        return 1.0
    weight = min(1.0, len(ratios[:NEWEST]) / 3)
    return min(1 + MOST, max(1 - MOST, 1 + weight * (statistics.median(ratios[:NEWEST]) - 1)))
