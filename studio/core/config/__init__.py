"""What a person sets for a run. Pure: no disk, no database, no environment.

Every field carries the keyword of the library that takes it. Label, help, unit, bounds, group and level stand on the
field; the form, the API, the command line and the README read them here.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from studio.core.config.adapter import AdapterConfig
from studio.core.config.base import BaseModelConfig
from studio.core.config.knob import Finite, Group, knob, range_of
from studio.core.config.method import MethodConfig
from studio.core.config.rules import clashes
from studio.core.config.training import TrainingConfig
from studio.core.errors import Fault, Faults

__all__ = [
    "AdapterConfig",
    "BaseModelConfig",
    "Finite",
    "Group",
    "Knob",
    "MethodConfig",
    "RunConfig",
    "TrainingConfig",
    "clashes",
    "knob",
    "knobs",
    "parse_config",
]


class RunConfig(Group):
    """Everything a person sets for a run. Frozen with the run when it is queued."""

    base: BaseModelConfig = Field(default_factory=BaseModelConfig, title="Base model")
    adapter: AdapterConfig = Field(default_factory=AdapterConfig, title="Adapter")
    method: MethodConfig = Field(default_factory=MethodConfig, title="Method")
    training: TrainingConfig = Field(default_factory=TrainingConfig, title="Training")


@dataclass(frozen=True)
class Knob:
    """One field of the config as a form needs it. `path` is dotted, `training.learning_rate`."""

    path: str
    label: str
    help: str
    level: str
    unit: str
    default: Any
    info: FieldInfo
    part: str
    names: dict[str, str]


def knobs(level: str = "") -> Iterator[Knob]:
    """All fields of `RunConfig` in the order of the form; only those of `level` (basic, advanced) where given."""
    for group, outer in RunConfig.model_fields.items():
        kind = outer.annotation
        assert isinstance(kind, type) and issubclass(kind, Group)
        for name, info in kind.model_fields.items():
            extra = info.json_schema_extra
            assert isinstance(extra, dict)
            if level in ("", extra["level"]):
                label, words = info.title or name, info.description or ""
                level_of, unit, part = str(extra["level"]), str(extra["unit"]), str(extra["part"] or outer.title)
                names: Any = extra["names"]
                yield Knob(f"{group}.{name}", label, words, level_of, unit, info.default, info, part, names)


def parse_config(raw: dict[str, Any]) -> RunConfig:
    """`raw` (nested by group, as from JSON) as a config. Raises `Faults`: every fault, with its range or way out."""
    try:
        config = RunConfig.model_validate(raw)
    except ValidationError as error:
        faults = [_fault(entry) for entry in error.errors()]
        wrong = {fault.field for fault in faults}
        raise Faults([*faults, *(one for one in _clashes_of_the_rest(raw, error) if one.field not in wrong)]) from error
    if found := clashes(config):
        raise Faults(found)
    return config


def _clashes_of_the_rest(raw: dict[str, Any], error: ValidationError) -> list[Fault]:
    """What does not go together in `raw` with its faulty fields at their defaults: all faults are said at once."""
    rest = deepcopy(raw)
    for entry in error.errors():
        part: Any = rest
        for name in entry["loc"][:-1]:
            part = part.get(name, {}) if isinstance(part, dict) else {}
        if isinstance(part, dict):
            part.pop(entry["loc"][-1], None)
    try:
        return clashes(RunConfig.model_validate(rest))
    except ValidationError:
        return []


def _fault(entry: Any) -> Fault:
    """One Pydantic error in our words: the label, the value seen, the range."""
    path = ".".join(str(part) for part in entry["loc"])
    found = next((k for k in knobs() if k.path == path), None)
    if found is None:
        return Fault(path, f"There is no setting called {path!r}.", "Leave it out.")
    seen = repr(entry["input"])[:60]
    if path == "training.max_steps" and entry["input"] == 0:
        return Fault(path, "0 steps learn nothing.", "Choose at least 1, or -1 to let the epochs decide.")
    return Fault(path, f"{found.label} can not be {seen}.", f"Choose {range_of(found.info)}.")
