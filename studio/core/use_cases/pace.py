"""How fast this machine trains, and so how long a run takes: from its finished runs, else from its matrix speed."""

import json
from typing import Any

from studio.core.artifacts import read_json
from studio.core.config import RunConfig
from studio.core.estimate import plan, seconds, tokens_per_second
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion


def quick_seconds(
    services: Services, owner: str, config: RunConfig, dataset: DatasetVersion, facts: ModelFacts
) -> float | None:
    """How long a run takes, where its tokens were counted already (the form does it); None where nobody knows."""
    kept: dict[str, Any] = read_json(services.artifacts.dataset_dir(dataset.id) / "counts.json") or {}
    counts = kept.get(count_name(config))
    if counts is None:
        return None
    planned = plan(config.training, counts["train"], counts["held_out"], counts["train_tokens"])
    speed = measured_speed(services, owner, config) or expected_speed(services, config, facts)
    return seconds(planned.tokens, speed)


def count_name(config: RunConfig) -> str:
    """The name under which the counts of a dataset for a config are kept."""
    training = config.training
    split = training.eval_share, training.seed
    base = config.base.repo, config.base.revision, config.base.chat_template
    return json.dumps([*base, training.max_length, training.overlong, *split])


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
