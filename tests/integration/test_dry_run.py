"""The dry run counts on the meta device what a real pass on the processor keeps, and is asked through the records."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from studio.core.config import parse_config
from studio.core.estimate.terms import Shape, counted_of
from studio.core.migrate import open_records, prepare_data_dir
from studio.core.settings import Settings
from studio.core.stores.measurements import MeasurementStore
from tests.integration.tiny import make_tiny_model
from worker.dry_run import Plan, answer
from worker.dry_run.counting import count, one_step
from worker.dry_run.model import sketch

SHAPE = Shape(2, 256, 30)
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"adapter": {"use_dora": True}},
    "full": {"adapter": {"tuner": "full"}},
    "again": {"training": {"activation_checkpointing": "full"}},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("dry") / "tiny")


@pytest.mark.parametrize("kind", KINDS)
def test_the_meta_device_counts_what_the_processor_keeps(tiny: Path, kind: str) -> None:
    config = parse_config(KINDS[kind])
    on_meta, real = (one_step(sketch(tiny, config, "bfloat16", 2, device=device), SHAPE) for device in ("meta", "cpu"))
    for name in ("saved", "body", "head", "backward"):
        assert on_meta[name] == pytest.approx(real[name], rel=0.01), name


@pytest.mark.parametrize("kind", KINDS)
def test_two_blocks_tell_what_five_take(tiny: Path, kind: str) -> None:
    config = parse_config(KINDS[kind])
    found, real = (
        count(tiny, config, Plan("bfloat16", True)),
        one_step(sketch(tiny, config, "bfloat16", 5), SHAPE, True),
    )
    for name in ("saved", "head", "backward"):
        assert found.most(name, SHAPE, 5) == pytest.approx(real[name], rel=0.1), name


@pytest.mark.parametrize("width", [300, 900])
def test_both_ways_to_attend_are_told_apart(tiny: Path, width: int) -> None:
    config, shape = parse_config({}), Shape(1, width, 30)
    found = count(tiny, config, Plan("bfloat16", long=True))
    real = one_step(sketch(tiny, config, "bfloat16", 4), shape)
    assert found.most("saved", shape, 4) == pytest.approx(real["saved"], rel=0.03)


def test_a_model_that_can_not_be_drawn_is_told_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing-we-know"}))
    request = {
        "config": {},
        "folder": str(tmp_path),
        "dtype": "float32",
        "accumulates": False,
        "kind": "cpu",
        "long": False,
    }
    assert answer(request, count) == {"problem": "This model's memory could not be counted."}


def test_a_request_waits_in_the_records_until_it_is_answered(tmp_path: Path, tiny: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    prepare_data_dir(settings)
    db = open_records(settings)
    store = MeasurementStore(db)
    assert store.want("k" * 64, {"dtype": "float32"}) and not store.want("k" * 64, {"dtype": "float32"})
    assert [one.key for one in store.wanted(time.time() - 60)] == ["k" * 64]
    store.done("k" * 64, count(tiny, parse_config({}), Plan("float32")).as_json())
    found = store.get("k" * 64)
    assert found is not None and found.counted is not None and counted_of(found.counted) is not None
    assert store.wanted(0) == []
    db.close()
