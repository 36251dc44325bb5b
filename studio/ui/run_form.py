"""What stands in the form of a new run: its first values, the order that Start sends, the key that makes Start safe."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.catalog import STARTER_REPO
from studio.core.config import knobs
from studio.core.config.applies import applies
from studio.core.errors import Faults, NotFound
from studio.core.services import Services
from studio.core.states import ENDED
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.runs import Run
from studio.core.use_cases.submit import Order
from studio.ui.fields import empty_faults, nested, values_of
from studio.ui.units import count

KNOBS = tuple(knob for knob in knobs() if knob.path != "base.repo")
REVISION = next(i for i, knob in enumerate(KNOBS) if knob.path == "base.revision")
PLACES = {knob.path: place for place, knob in enumerate(KNOBS)}
EVAL_SHARE = float(next(knob.default for knob in KNOBS if knob.path == "training.eval_share"))
IN_TURN = "When its turn comes"


@dataclass(frozen=True)
class Filled:
    """The form's values: `settings` in the order of `KNOBS`. `problem` says what of the address meant nothing."""

    repo: str
    version_id: str | None
    name: str
    settings: tuple[Any, ...]
    problem: NotFound | None = None
    source: Run | None = None


def at(path: str) -> int:
    """The place of a field among the settings."""
    return PLACES[path]


def first_values(services: Services, owner: str, from_run: str, dataset: str, continued: str = "") -> Filled:
    """The defaults; those of the run `from_run` where one is named, and `dataset` (an id or a version's) chosen.

    With `continued` the run is that one, and its adapter is trained further.
    """
    problem, repo, name, config, source = None, STARTER_REPO, "", dict[str, Any](), None
    try:
        if from_run or continued:
            source = run = services.runs.get(continued or from_run, owner)
            config = {**run.config, "base": pinned(run.config.get("base", {}), run.base_revision)}
            if continued:
                brought = {"continue_from": run.id, "init_lora_weights": "default"}
                config = {**config, "adapter": {**run.config.get("adapter", {}), **brought}}
            repo, name, dataset = run.base_repo, next_name(run.name), dataset or run.dataset_version_id
    except NotFound as error:
        problem = error
    version_id = None
    try:
        version_id = find_dataset(services, owner, dataset).id if dataset else None
    except NotFound as error:
        problem = problem or error
    return Filled(repo, version_id, name, tuple(values_of(KNOBS, config)), problem, source)


def pinned(base: dict[str, Any], revision: str) -> dict[str, Any]:
    """The base of a run again, at the commit that it had then; what is no commit stays as it was asked."""
    return {**base, "revision": revision} if re.fullmatch(r"[0-9a-f]{40}", revision) else base


def find_dataset(services: Services, owner: str, name: str) -> DatasetVersion:
    """A version by its own id, or the newest one of a dataset. Raises `NotFound`."""
    try:
        return services.datasets.version(name, owner)
    except NotFound:
        return services.datasets.get(name, owner)


def version_or_none(services: Services, owner: str, version_id: Any) -> DatasetVersion | None:
    """The person's dataset, or None where the choice means nothing."""
    try:
        return services.datasets.version(str(version_id), owner) if version_id else None
    except NotFound:
        return None


def next_name(name: str) -> str:
    """ "orders" becomes "orders-2", "orders-2" becomes "orders-3"."""
    found = re.fullmatch(r"(.*)-(\d{1,4})", name, re.DOTALL)
    return f"{found[1]}-{int(found[2]) + 1}" if found else f"{name}-2"


def dataset_choices(services: Services, owner: str) -> list[tuple[str, str]]:
    """(name with its size, id of its newest version), the newest first."""
    return [(f"{one.name} ({count(one.examples, 'example')})", one.id) for one in services.datasets.of(owner)]


def raw_config(repo: Any, settings: Sequence[Any]) -> dict[str, Any]:
    """The form's config, unchecked. Raises `Faults` for numbers that were wiped."""
    empty = empty_faults(KNOBS, settings)
    if empty:
        raise Faults(empty)
    return plain_config(repo, settings)


def plain_config(repo: Any, settings: Sequence[Any]) -> dict[str, Any]:
    """The form's config as it stands; fields that do not apply, and so are hidden, are at their defaults."""
    values = {knob.path: value for knob, value in zip(KNOBS, settings, strict=True)}
    kept = [value if applies(knob.path, values) else knob.default for knob, value in zip(KNOBS, settings, strict=True)]
    raw = nested(KNOBS, kept)
    return {**raw, "base": {**raw["base"], "repo": str(repo or "").strip()}}


def adapter_choices(services: Services, owner: str) -> list[tuple[str, str]]:
    """(name, id) of the runs whose adapters can be trained further; a fresh one first."""
    ended = [run for run in services.runs.of(owner) if run.state in ("succeeded", "stopped")]
    whole = [run for run in ended if (services.artifacts.adapter_dir(run.id) / "adapter_model.safetensors").is_file()]
    return [("A fresh adapter", ""), *((run.name, run.id) for run in whole)]


def after_choices(services: Services, owner: str) -> list[tuple[str, str]]:
    """When a run may start: (words, id of the run that it comes after); only the first where no other run goes on."""
    going = [run for run in services.runs.of(owner) if run.state not in ENDED]
    return [(IN_TURN, ""), *((f"After {run.name}", run.id) for run in going)]


def order_of(key: Any, name: Any, repo: Any, version_id: Any, settings: Sequence[Any], after: Any = "") -> Order:
    """What Start sends. Raises `Faults`.

    The same form from the same load of the page is the same order: pressing Start twice makes one run. A changed form
    is another one.
    """
    raw = raw_config(repo, settings)
    called, dataset, before = str(name or ""), str(version_id or ""), str(after or "")
    sent = json.dumps([str(key), called, dataset, before, raw], sort_keys=True, default=str)
    token = hashlib.sha256(sent.encode()).hexdigest()[:32] if key else None
    return Order(called, dataset, raw, token, before or None)
