"""Reads a run's curves while they grow, and says each alarm once. The sentences are `studio.core.alarms`'."""

import math

from studio.core.alarms import CURVES, FIRST_LOOK, Alarm, alarms, few_steps
from worker.trainer.job import Reporter

GROWN = 1.05  # the curves are read again when they are this much longer: a look costs as much as they are long


class Lookout:
    """Keeps what was measured in this attempt and looks at it now and then."""

    def __init__(self, reporter: Reporter) -> None:
        """`steps` is set when it is known."""
        self._reporter, self.steps = reporter, 0
        self._series: dict[str, list[tuple[int, float]]] = {name: [] for name in CURVES}
        self._next = FIRST_LOOK
        self._told: set[str] = set()

    def begin(self, steps: int) -> None:
        """The number of steps is known."""
        self.steps = steps
        self._tell(few_steps(steps))

    def heard(self, step: int, values: dict[str, float]) -> None:
        """Values of a step, or of a check."""
        for name in CURVES:
            if math.isfinite(values.get(name, math.nan)):
                self._series[name].append((step, values[name]))
        length = len(self._series["loss"])
        if "eval_loss" in values or length >= self._next:
            self._next = max(length + 1, math.ceil(length * GROWN))
            self._tell(alarms(self._series, self.steps))

    def _tell(self, found: list[Alarm]) -> None:
        for one in found:
            if one.kind not in self._told:
                self._told.add(one.kind)
                self._reporter.alarm(one.kind, one.title, one.text)
