"""How fast this machine trains, and so how long a run takes: from its finished runs, else from its matrix speed."""

from dataclasses import dataclass
from typing import Any

from studio.core.config import RunConfig
from studio.core.estimate import Plan, plan, seconds, tokens_per_second
from studio.core.estimate.checks import Checking, Pace, checking, seconds_beside
from studio.core.estimate.memory import SIZE
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.counting import known_counts
from studio.core.use_cases.fit import fit, machine_of, told
from studio.core.use_cases.room import room_for

MEASURED, EXPECTED = (0.85, 1.3), (0.7, 2.0)
"""How far a time from a run on this machine may be off, and one from the machine's matrix speed alone."""


@dataclass(frozen=True)
class Time:
    """Seconds from Start to the end, and between which two they lie; None where nobody knows.

    `beside` of them go to checks and answers: what is done there says `checking`.
    """

    seconds: float | None
    range: tuple[float, float] | None
    beside: float
    checking: Checking


def planned(config: RunConfig, counts: dict[str, Any]) -> Plan:
    """Steps and tokens of a run, from what the sandbox counted."""
    return plan(config.training, counts["train"], counts["held_out"], counts["train_tokens"])


def took(services: Services, owner: str, config: RunConfig, facts: ModelFacts, counts: dict[str, Any]) -> Time:
    """How long a run takes: its start, its steps, its checks on held-out examples, its answers."""
    work = planned(config, counts)
    checks = checking(config, work, counts)
    measured = measured_speed(services, owner, config)
    speed = measured or expected_speed(services, config, facts)
    known = seconds(work.tokens, speed)
    if known is None or not speed:
        return Time(None, None, 0.0, checks)
    machine = machine_of(services, config)
    kind, size = (machine.kind, SIZE[machine.dtype]) if machine else ("cpu", 4)
    beside = seconds_beside(config, checks, Pace(speed, kind, size * facts.parameters), known)
    low, high = MEASURED if measured else EXPECTED
    known += beside
    return Time(known, (known * low, known * high), beside, checks)


def said(
    services: Services, owner: str, config: RunConfig, dataset: DatasetVersion, facts: ModelFacts
) -> dict[str, Any] | None:
    """What is forecast of a run as it is queued, for its record; None where its tokens were never counted."""
    counts = known_counts(services, config, dataset)
    if counts is None:
        return None
    work = planned(config, counts)
    takes = took(services, owner, config, facts, counts)
    fits = fit(services, owner, config, facts, counts)
    room = room_for(services, config, facts, counts)
    return {
        "steps": work.steps,
        "tokens": work.tokens,
        "epoch_tokens": counts["train_tokens"],
        "seconds": takes.seconds,
        "range": takes.range,
        "beside": takes.beside,
        "disk": room.written.total if room else None,
        **(told(fits) if fits else {}),
    }


def measured_speed(services: Services, owner: str, config: RunConfig) -> float | None:
    """Tokens per second of the newest finished run of the same base model on this machine."""
    for run in services.runs.of(owner):
        if run.state == "succeeded" and run.base_repo == config.base.repo:
            speed = services.metrics.mean(run.id, "tokens_per_s")
            if speed:
                return speed
    return None


def expected_speed(services: Services, config: RunConfig, facts: ModelFacts) -> float | None:
    """Tokens per second from the matrix speed that the worker measured; None before it did."""
    machine = services.machines.newest()
    matmul = machine.facts.get("matmul", {}) if machine else {}
    return tokens_per_second(facts.parameters or 0, matmul, config.base.dtype)
