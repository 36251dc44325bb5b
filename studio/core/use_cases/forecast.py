"""What will happen if Start is pressed now: for the panel that follows the knobs."""

from dataclasses import dataclass
from typing import Any

from studio.core.artifacts import read_json, write_json
from studio.core.config import RunConfig, parse_config
from studio.core.errors import Fault, Faults, StudioError
from studio.core.estimate import Plan, plan
from studio.core.models import ModelFacts, tokenizer_folder
from studio.core.reader import ask
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.fit import Fit, fit
from studio.core.use_cases.pace import count_name, took
from studio.core.use_cases.submit import dataset_faults, model_faults


@dataclass(frozen=True)
class Forecast:
    """The panel's facts. `counts` is what the sandbox counted; `faults` says why Start would be refused.

    `range` are the seconds between which the time lies; `fit` is None where this machine is not known yet.
    """

    plan: Plan | None
    counts: dict[str, Any]
    seconds: float | None
    faults: tuple[Fault, ...]
    range: tuple[float, float] | None = None
    fit: Fit | None = None


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
    except StudioError as error:
        return Forecast(None, {}, None, (*faults, Fault("dataset", error.problem, error.remedy)))
    if counts["train"] < 1 and not faults:
        faults.append(nothing_left(counts, config))
    planned = plan(config.training, counts["train"], counts["held_out"], counts["train_tokens"])
    takes = took(services, owner, config, facts, planned)
    fits = fit(services, owner, config, facts, counts)
    return Forecast(planned, counts, takes.seconds, tuple(faults), takes.range, fits)


def nothing_left(counts: dict[str, Any], config: RunConfig) -> Fault:
    """Why no example is left to learn from."""
    if counts.get("cut"):
        words = f"No answer is left within {config.training.max_length:,} tokens."
        longest = f"the longest example has {counts['longest']:,}"
        return Fault("training.max_length", words, f"Raise Longest example: {longest}.")
    return Fault("dataset", "No example has an answer to learn.", "Look inside the dataset, or choose another one.")


def count(services: Services, dataset: DatasetVersion, config: RunConfig) -> dict[str, Any]:
    """Examples and tokens of a dataset for a model, counted in the sandbox once and kept beside the dataset."""
    training = config.training
    path = services.artifacts.dataset_dir(dataset.id) / "counts.json"
    kept: dict[str, Any] = read_json(path) or {}
    name = count_name(config)
    if name not in kept:
        folder = tokenizer_folder(config.base.repo, config.base.revision, services.settings)
        request = {
            "do": "count",
            "data": str(services.artifacts.data_parquet(dataset.id)),
            "model": str(folder),
            "max_length": training.max_length,
            "overlong": training.overlong,
            "template": config.base.chat_template,
            "eval_share": training.eval_share,
            "seed": training.seed,
            "method": config.method.name,
            "learn": config.method.learn,
        }
        kept = {**dict(list(kept.items())[-50:]), name: ask(request, services.settings)}
        write_json(path, kept)
    counted: dict[str, Any] = kept[name]
    return counted
