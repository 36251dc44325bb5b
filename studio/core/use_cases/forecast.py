"""What will happen if Start is pressed now: for the panel that follows the knobs."""

from dataclasses import dataclass
from typing import Any

from studio.core.config import parse_config
from studio.core.errors import Fault, Faults, StudioError
from studio.core.estimate import Plan
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.supervision import supervision_faults
from studio.core.use_cases.counting import count
from studio.core.use_cases.fit import Fit, fit
from studio.core.use_cases.pace import Time, planned, took
from studio.core.use_cases.room import Room, room_for
from studio.core.use_cases.submit import dataset_faults, model_faults


@dataclass(frozen=True)
class Forecast:
    """The panel's facts. `counts` is what the sandbox counted; `faults` says why Start would be refused.

    `fit` is None where this machine is not known yet, `room` where nobody knows how the model is built.
    """

    plan: Plan | None
    counts: dict[str, Any]
    time: Time | None
    faults: tuple[Fault, ...]
    fit: Fit | None = None
    room: Room | None = None


def forecast(
    services: Services, owner: str, raw: dict[str, Any], version_id: str | None, facts: ModelFacts | None
) -> Forecast:
    """Steps, tokens and time of the form as it stands; `facts` are those of the model looked up when it was chosen."""
    faults: list[Fault] = []
    try:
        config = parse_config(raw)
    except Faults as found:
        return Forecast(None, {}, None, found.faults)
    if facts is None:
        return Forecast(None, {}, None, (Fault("base.repo", "No base model is chosen.", "Choose one."),))
    faults.extend(model_faults(config, facts))
    if not version_id:
        return Forecast(None, {}, None, (*faults, Fault("dataset", "No dataset is chosen.", "Choose one.")))
    try:
        dataset = services.datasets.version(version_id, owner)
        faults.extend(dataset_faults(config, dataset))
        counts = count(services, dataset, config)
        faults.extend(supervision_faults(config, dataset.name, counts))
    except StudioError as error:
        return Forecast(None, {}, None, (*faults, Fault("dataset", error.problem, error.remedy)))
    return Forecast(
        planned(config, counts),
        counts,
        took(services, owner, config, facts, counts),
        tuple(faults),
        fit(services, owner, config, facts, counts),
        room_for(services, config, facts, counts),
    )
