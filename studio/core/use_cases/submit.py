"""From a filled form to a queued run: every fault at once, or a committed row and a bell."""

import shutil
from dataclasses import dataclass
from typing import Any

from studio.core.artifacts import write_json
from studio.core.comparing import method_faults
from studio.core.config import RunConfig, parse_config
from studio.core.config.rules import blocks
from studio.core.disk import no_room_for
from studio.core.errors import Fault, Faults, NotFound, StudioError
from studio.core.failpoints import failpoint
from studio.core.models import ModelFacts, look_up
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.runs import NewRun, Run
from studio.core.use_cases.continuing import here_faults
from studio.core.use_cases.counting import learning_faults
from studio.core.use_cases.model_check import check_model
from studio.core.use_cases.pace import said

NAME_LENGTH = 200


@dataclass(frozen=True)
class Order:
    """What a form, the API or a command sends. `config` is nested by group, unchecked."""

    name: str
    dataset_version_id: str
    config: dict[str, Any]
    idempotency_key: str | None = None
    after_run_id: str | None = None


def submit(services: Services, owner: str, order: Order) -> Run:
    """The queued run. Raises `Faults` with everything that is wrong; then nothing was queued."""
    faults: list[Fault] = []
    if len(order.name) > NAME_LENGTH:
        faults.append(Fault("name", f"The name has {len(order.name)} characters.", f"Keep it under {NAME_LENGTH}."))
    config = _config(order, faults)
    dataset = _dataset(services, owner, order, faults)
    facts = _model(services, owner, config, faults) if config else None
    if config is not None:
        faults.extend(dataset_faults(config, dataset) if dataset is not None else [])
        faults.extend(here_faults(services, owner, _named(config, facts)))
    if faults or config is None or dataset is None or facts is None:
        raise Faults(faults)
    _after(services, owner, order, faults)
    faults.extend(learning_faults(services, config, dataset))
    if faults:
        raise Faults(faults)
    forecast = said(services, owner, config, dataset, facts)
    new = NewRun(
        owner=owner,
        name=order.name.strip() or dataset.name,
        config=config.model_dump(),
        base_repo=facts.ref.repo,
        base_revision=facts.ref.revision,
        dataset_version_id=dataset.id,
        method=config.method.name,
        idempotency_key=order.idempotency_key,
        after_run_id=order.after_run_id or None,
        expected_seconds=(forecast or {}).get("seconds"),
        forecast=forecast,
    )
    run = accept(services, new)
    services.bell.ring_runs()
    return run


def _named(config: RunConfig, facts: ModelFacts | None) -> RunConfig:
    """`config` with the base model under the name that it has for good."""
    repo = facts.ref.repo if facts else config.base.repo
    return config.model_copy(update={"base": config.base.model_copy(update={"repo": repo})})


def dataset_faults(config: RunConfig, dataset: DatasetVersion) -> list[Fault]:
    """Why the method of `config` can not learn from `dataset`; empty where it can."""
    return method_faults(config.method.name, str(dataset.report.get("format", "")))


def accept(services: Services, new: NewRun) -> Run:
    """The run's folder, then its row: a row without a folder never stands; a folder without a row is swept away."""
    folder = services.artifacts.run_dir(new.id)
    try:
        write_json(services.artifacts.spec_path(new.id), {**new.__dict__})
        failpoint("submit.folder", run=new.id, key=new.idempotency_key)
        run = services.runs.add(new)
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if run.id != new.id:  # the same order again
        shutil.rmtree(folder, ignore_errors=True)
    return run


def _after(services: Services, owner: str, order: Order, faults: list[Fault]) -> None:
    """The run that this one waits for must be the person's own."""
    if order.after_run_id:
        try:
            services.runs.get(order.after_run_id, owner)
        except NotFound:
            faults.append(Fault("after_run_id", "The run to start after is not there.", "Choose another one."))


def _config(order: Order, faults: list[Fault]) -> RunConfig | None:
    try:
        return parse_config(order.config)
    except Faults as found:
        faults.extend(found.faults)
        return None


def _dataset(services: Services, owner: str, order: Order, faults: list[Fault]) -> DatasetVersion | None:
    try:
        found = services.datasets.version(order.dataset_version_id, owner)
    except NotFound:
        faults.append(Fault("dataset", "No dataset is chosen.", "Choose one, or drop a file."))
        return None
    if found.examples < 1:
        faults.append(Fault("dataset", f"{found.name} has no example to learn from.", "Choose another one."))
    return found


def _model(services: Services, owner: str, config: RunConfig, faults: list[Fault]) -> ModelFacts | None:
    """The model's facts; what does not go together with it is added to `faults`."""
    try:
        facts = look_up(config.base.repo, config.base.revision, services.settings, owner)
    except StudioError as error:
        faults.append(Fault(error.field or "base.repo", error.problem, error.remedy))
        return None
    try:
        check_model(services.settings, facts, config.base.chat_template)
    except StudioError as error:
        faults.append(Fault(error.field or "base.repo", error.problem, error.remedy))
    faults.extend(model_faults(config, facts))
    if facts.bytes_to_fetch and (words := no_room_for(services.settings, facts.bytes_to_fetch)):
        faults.append(Fault("base.repo", *words))
    return facts


def model_faults(config: RunConfig, facts: ModelFacts) -> list[Fault]:
    """What of `config` the model can not do."""
    faults = []
    if facts.context and config.training.max_length > facts.context:
        words = f"Longest example can not be {config.training.max_length:,} tokens: the model reads {facts.context:,}."
        faults.append(Fault("training.max_length", words, f"Choose at most {facts.context:,}."))
    if facts.width and config.adapter.r > facts.width:
        words = f"Adapter rank can not be {config.adapter.r}: the model is {facts.width:,} wide."
        faults.append(Fault("adapter.r", words, f"Choose at most {facts.width:,}."))
    wanted = [name.strip() for name in config.adapter.target_modules.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in facts.linear_layers] if facts.linear_layers else []
    if wanted != ["all-linear"] and unknown:
        words = f"The model has no layer called {', '.join(unknown)[:80]}."
        faults.append(Fault("adapter.target_modules", words, "It has: " + ", ".join(facts.linear_layers) + "."))
    chosen = blocks(config.adapter.layers_to_transform)
    if facts.layers and chosen and chosen[-1] >= facts.layers:
        words = f"The model has no block {chosen[-1]}: it has {facts.layers}."
        faults.append(Fault("adapter.layers_to_transform", words, f"Choose from 0-{facts.layers - 1}."))
    return faults
