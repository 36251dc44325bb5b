"""Presets by model and data, what two configs set differently, and configs as YAML."""

import pytest

from studio.core.config import knobs, parse_config
from studio.core.config.applies import HANGING, SWITCHES, applies
from studio.core.config.continuing import continuing_faults
from studio.core.config.difference import difference, flat, nest
from studio.core.config.files import MOST_BYTES, RunFile, from_yaml, to_yaml
from studio.core.config.presets import BALANCED, DRAFT, NAMES, THOROUGH, Scale, preset, presets
from studio.core.errors import Faults


@pytest.mark.parametrize("examples", [0, 12, 400, 20_000, 900_000])
@pytest.mark.parametrize("tuner", ["lora", "full"])
@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "orpo"])
def test_every_preset_is_a_config_that_can_start(examples: int, tuner: str, method: str) -> None:
    scale = Scale(135_000_000, 512, 64, examples, examples // 10, method, tuner)
    for one in presets(scale):
        config = parse_config(nest({**one.sets, "method.name": method, "adapter.tuner": tuner}))
        assert config.training.max_length <= 512 and (tuner == "full" or config.adapter.r <= 64)
        assert one.words and one.why


def test_few_examples_still_make_enough_steps_and_many_are_read_less_often() -> None:
    few = preset(DRAFT, Scale(examples=30, held_out=3)).sets
    assert few["training.num_train_epochs"] * 27 / few["training.per_device_train_batch_size"] >= 20
    passes = [preset(BALANCED, Scale(examples=n)).sets["training.num_train_epochs"] for n in (400, 20_000, 200_000)]
    assert passes == [3, 2, 1]
    assert preset(DRAFT, Scale(examples=200_000)).sets["training.max_steps"] > 0


def test_the_learning_rate_goes_by_model_method_and_what_is_trained() -> None:
    def rate(**scale: object) -> float:
        return float(preset(BALANCED, Scale(**scale)).sets["training.learning_rate"])  # type: ignore[arg-type]

    assert rate(parameters=135_000_000) > rate(parameters=3_000_000_000) > rate(parameters=70_000_000_000)
    assert rate(method="dpo") == pytest.approx(rate() / 10) == rate(tuner="full")


def test_the_best_check_is_kept_only_where_there_is_enough_to_check() -> None:
    found = {n: preset(THOROUGH, Scale(examples=10 * n, held_out=n)).sets for n in (2, 50)}
    assert [found[n]["training.load_best_model_at_end"] for n in (2, 50)] == [False, True]
    assert found[2]["training.early_stopping_patience"] == 0
    assert len(NAMES) == len(presets(Scale()))


def test_the_difference_says_what_was_and_what_is() -> None:
    changed = difference(
        {}, {"training": {"learning_rate": 1e-4, "num_train_epochs": 3.0}, "base": {"quantization": "nf4"}}
    )
    assert [one.words for one in changed] == [
        "Base model in fewer bits No, as it is → 4 bits (nf4)",
        "Learning rate 0.0002 → 0.0001",
    ]


def test_what_hangs_on_another_field_applies_only_with_it() -> None:
    values = flat({})
    assert not applies("method.loss_type", values) and not applies("base.bnb_4bit_use_double_quant", values)
    values |= {"method.name": "dpo", "method.loss_type": "ipo"}
    assert applies("method.loss_type", values) and not applies("method.label_smoothing", values)
    assert applies("training.micro_batch_tokens", flat({})) and not applies("training.micro_batch_tokens", values)
    assert {*HANGING, *SWITCHES} <= {knob.path for knob in knobs()}


def test_a_continued_adapter_keeps_its_shape() -> None:
    source = {"adapter": {"r": 8}}
    config = parse_config({"adapter": {"r": 16, "continue_from": "x"}})
    assert [fault.field for fault in continuing_faults(config, source, "orders")] == ["adapter.r"]
    assert not continuing_faults(parse_config({"adapter": {"r": 8, "continue_from": "x"}}), source, "orders")


def test_a_config_comes_back_from_its_file_as_it_was() -> None:
    config = parse_config({
        "adapter": {"layers_to_transform": "5", "continue_from": "012345", "bias": "all", "use_dora": True},
        "training": {"learning_rate": 5e-6, "num_train_epochs": 2.5}, "base": {"revision": "1e5"},
    })  # fmt: skip
    text = to_yaml(RunFile(config.model_dump(), "a: b # c\nd", "orders.csv", "abc"), "a.yaml")
    found = from_yaml(text)
    assert parse_config(found.config) == config
    assert (found.name, found.dataset, found.dataset_id) == ("a: b # c\nd", "orders.csv", "abc")
    assert "learning_rate: 5e-06  # Learning rate, usually 0.0002" in text and "weight_decay" not in text


def test_numbers_may_be_written_as_people_write_them() -> None:
    assert from_yaml("training: {learning_rate: 1e-4}").config == {"training": {"learning_rate": 1e-4}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x", "anchor"),
        ("[" * 50_000, "nested too deep"),
        ("", "says nothing"),
        ("- 1", "does not hold names"),
        ("a: 'x", "can not be read"),
        ("\x00", "no text that YAML knows"),
        ("adapter: {r: !!python/object:os.x 3}", "tag"),
        ("a: 1\n---\nb: 2", "another document"),
        ("x" * (MOST_BYTES + 1), "larger than"),
        ("training:\n  seed: 1\n  seed: 2", "Line 3: 'seed' stands here twice."),
        ("training:\n  seed: [1]", "Line 2: Seed can not be a list."),
        ("training:\n\n  learning_rate: .nan", "Line 3: Learning rate can not be nan."),
    ],
)
def test_a_file_that_is_no_config_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(Faults, match="(?s).*" + words.replace(".", r"\.")):
        from_yaml(text)
