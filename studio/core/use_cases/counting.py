"""Examples and tokens of a dataset as a config would have them read: counted in the sandbox once, then kept."""

import json
from typing import Any

from studio.core.artifacts import read_json, write_json
from studio.core.config import RunConfig
from studio.core.errors import Fault, Refused, StudioError
from studio.core.models import tokenizer_folder
from studio.core.reader import ask
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.supervision import supervision_faults


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


def known_counts(services: Services, config: RunConfig, dataset: DatasetVersion) -> dict[str, Any] | None:
    """What the sandbox counted for this config, where it did already: the form asks it."""
    kept: dict[str, Any] = read_json(services.artifacts.dataset_dir(dataset.id) / "counts.json") or {}
    found: dict[str, Any] | None = kept.get(count_name(config))
    return found


def count_name(config: RunConfig) -> str:
    """The name under which the counts of a dataset for a config are kept."""
    training = config.training
    split = training.eval_share, training.seed, config.method.name, config.method.learn
    base = config.base.repo, config.base.revision, config.base.chat_template
    return json.dumps([*base, training.max_length, training.overlong, *split])


def learning_faults(services: Services, config: RunConfig, dataset: DatasetVersion) -> list[Fault]:
    """Why nothing of the dataset would be learnt; counts it where nobody did.

    Empty too where it can not be counted now (a starter model that is not here yet): then the trainer finds out.
    """
    try:
        counts = count(services, dataset, config)
    except Refused as error:
        return [Fault(error.field or "dataset", error.problem, error.remedy)]
    except StudioError:
        return []
    return supervision_faults(config, dataset.name, counts)
