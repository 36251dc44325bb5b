"""The config refuses what would train nothing, all faults at once, in words."""

import math
from typing import Any

import pytest

from studio.core.config import RunConfig, knobs, parse_config
from studio.core.errors import Faults

WRONG: list[tuple[str, Any]] = [
    ("training.learning_rate", math.nan),
    ("training.learning_rate", math.inf),
    ("training.learning_rate", 1e9),
    ("training.per_device_train_batch_size", 0),
    ("training.per_device_train_batch_size", -1),
    ("training.per_device_train_batch_size", 1_000_000),
    ("training.num_train_epochs", 0),
    ("training.num_train_epochs", -1),
    ("training.num_train_epochs", 1e9),
    ("adapter.r", 0),
    ("adapter.r", 2.5),
    ("adapter.r", 4096),
    ("adapter.lora_alpha", math.nan),
    ("adapter.lora_dropout", 1.0),
    ("training.max_length", 0),
    ("training.max_length", 1),
    ("training.seed", -1),
    ("base.dtype", "float16"),
    ("base.repo", ""),
    ("training.predict_with_generate", "perhaps"),
]


def nested(path: str, value: Any) -> dict[str, Any]:
    """`{"training": {"learning_rate": value}}` of a dotted path."""
    group, _, name = path.partition(".")
    return {group: {name: value}}


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_a_setting_out_of_bounds_is_refused_with_its_range(path: str, value: Any) -> None:
    with pytest.raises(Faults) as caught:
        parse_config(nested(path, value))
    (fault,) = caught.value.faults
    assert fault.field == path
    assert repr(value)[:60] in fault.problem and fault.remedy.startswith("Choose ")


def test_all_faults_are_told_at_once() -> None:
    raw = {"training": {"learning_rate": math.nan, "max_length": 1}, "adapter": {"r": 0}, "extra": 1}
    with pytest.raises(Faults) as caught:
        parse_config(raw)
    fields = {fault.field for fault in caught.value.faults}
    assert fields == {"training.learning_rate", "training.max_length", "adapter.r", "extra"}


def test_the_defaults_are_a_valid_config_and_survive_json() -> None:
    config = parse_config({})
    assert config == RunConfig() == RunConfig.model_validate_json(config.model_dump_json())


def test_every_field_has_its_words_and_its_level() -> None:
    assert all(knob.label and knob.help and knob.level in {"basic", "advanced"} for knob in knobs())
    assert {knob.path for knob in knobs("basic")} < {knob.path for knob in knobs()}
