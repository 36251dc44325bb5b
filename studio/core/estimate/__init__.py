"""What a run will take: steps, tokens, time, memory. Pure arithmetic."""

from studio.core.estimate.time import (
    EFFICIENCY,
    START_SECONDS,
    Plan,
    plan,
    seconds,
    seconds_left,
    tokens_per_second,
)

__all__ = ["EFFICIENCY", "START_SECONDS", "Plan", "plan", "seconds", "seconds_left", "tokens_per_second"]
