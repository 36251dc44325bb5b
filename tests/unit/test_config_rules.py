"""Settings that do not go together are said at once, each at its field."""

from typing import Any

import pytest

from studio.core.config import parse_config
from studio.core.config.rules import blocks
from studio.core.errors import Faults

CLASHES: list[tuple[dict[str, Any], str]] = [
    ({"adapter": {"tuner": "full"}, "base": {"quantization": "nf4"}}, "base.quantization"),
    ({"adapter": {"tuner": "full", "use_dora": True}}, "adapter.use_dora"),
    ({"adapter": {"use_dora": True, "init_lora_weights": "pissa"}}, "adapter.use_dora"),
    ({"adapter": {"init_lora_weights": "pissa"}, "base": {"quantization": "int8"}}, "adapter.init_lora_weights"),
    ({"adapter": {"layers_to_transform": "5-2"}}, "adapter.layers_to_transform"),
    (
        {"method": {"name": "kto"}, "training": {"per_device_train_batch_size": 1}},
        "training.per_device_train_batch_size",
    ),
    ({"method": {"name": "dpo"}, "training": {"packing": True}}, "training.packing"),
    ({"training": {"packing": True, "path": "trl"}}, "training.packing"),
    ({"method": {"name": "orpo", "learn": "everything"}}, "method.learn"),
    ({"method": {"name": "dpo", "loss_type": "robust"}}, "method.label_smoothing"),
    ({"method": {"name": "dpo", "loss_type": "ipo", "label_smoothing": 0.1}}, "method.label_smoothing"),
    ({"training": {"max_steps": 5, "warmup_steps": 5}}, "training.warmup_steps"),
    ({"training": {"torch_compile": True}, "base": {"quantization": "nf4"}}, "training.torch_compile"),
    ({"training": {"max_steps": 0}}, "training.max_steps"),
]


def faults_of(raw: dict[str, Any]) -> set[str]:
    with pytest.raises(Faults) as caught:
        parse_config(raw)
    assert all(fault.problem and fault.remedy for fault in caught.value.faults)
    return {fault.field for fault in caught.value.faults}


@pytest.mark.parametrize(("raw", "field"), CLASHES)
def test_what_does_not_go_together_is_refused_at_its_field(raw: dict[str, Any], field: str) -> None:
    assert faults_of(raw) == {field}


def test_faulty_fields_and_clashes_are_said_in_one_go() -> None:
    raw = {"adapter": {"tuner": "full", "use_dora": True, "r": -1}, "training": {"learning_rate": float("nan")}}
    assert faults_of(raw) == {"adapter.use_dora", "adapter.r", "training.learning_rate"}


def test_blocks_are_read_as_numbers_and_ranges() -> None:
    assert blocks("0-2, 8,1") == (0, 1, 2, 8)
    assert blocks("") == ()
