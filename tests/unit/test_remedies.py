"""One click after a failure or an alarm: what is changed, and that it is a config."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.config import parse_config
from studio.core.remedies import CURES, MEMORY, change_for, changed


def config(**training: object) -> dict[str, dict[str, object]]:
    """A config with some training settings."""
    return {"training": training}


@pytest.mark.parametrize("reason", sorted(MEMORY))
def test_where_batches_are_the_persons_half_is_read_at_once_and_the_step_stays(reason: str) -> None:
    change = change_for(reason, config(path="trl", per_device_train_batch_size=8, gradient_accumulation_steps=2))
    assert change is not None and "half" in change.words
    assert change.config == {"training": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}}


def test_a_process_that_the_system_ended_reads_fewer_tokens_at_once() -> None:
    change = change_for("host_out_of_memory", config(micro_batch_tokens=4096))
    assert change is not None and change.config == {"training": {"micro_batch_tokens": 2048}}
    assert "2,048 tokens at once" in change.words


def test_a_trainer_that_split_as_far_as_it_could_computes_again_then_cuts_then_takes_fewer_bits() -> None:
    first = change_for("out_of_memory", config())
    assert first is not None and first.config == {"training": {"activation_checkpointing": "full"}}
    known = {"activation_checkpointing": "full", "max_length": 1024}
    second = change_for("out_of_memory", config(**known))
    assert second is not None and second.config == {"training": {"max_length": 512}}
    known["max_length"] = 128
    third = change_for("out_of_memory", config(**known))
    assert third is not None and third.config == {"base": {"quantization": "nf4"}}
    assert change_for("out_of_memory", {**config(**known), "base": {"quantization": "nf4"}}) is None


@pytest.mark.parametrize(
    ("reason", "before", "after"),
    [
        ("diverged", {"learning_rate": 2e-4}, {"learning_rate": 5e-5}),
        ("diverging", {"learning_rate": 2e-4}, {"learning_rate": 5e-5}),
        ("nothing_learnt", {"learning_rate": 1e-6}, {"learning_rate": 1e-5}),
        ("flat", {"learning_rate": 1e-5}, {"learning_rate": 1e-4}),
        ("all_cut", {"max_length": 16}, {"max_length": 64}),
        ("all_too_long", {"overlong": "drop"}, {"overlong": "cut"}),
        ("no_end", {"overlong": "cut"}, {"overlong": "drop"}),
        ("time_limit", {"num_train_epochs": 3}, {"num_train_epochs": 1.5}),
        ("few_steps", {"num_train_epochs": 2}, {"num_train_epochs": 6, "max_steps": -1}),
        ("overfitting", {}, {"load_best_model_at_end": True, "early_stopping_patience": 3}),
    ],
)
def test_each_trouble_has_its_own_change(reason: str, before: dict[str, object], after: dict[str, object]) -> None:
    change = change_for(reason, config(**before))
    assert change is not None and change.config == {"training": after} and change.words


def test_layers_that_the_model_does_not_have_become_all_that_it_has() -> None:
    change = change_for("unknown_layers", {"adapter": {"target_modules": "q_prof"}})
    assert change is not None and change.config == {"adapter": {"target_modules": "all-linear"}}


@pytest.mark.parametrize(
    "reason", [None, "native_crash", "disk_full", "crash_loop", "bug", "gated_model", "no_answers"]
)
def test_what_no_setting_helps_against_offers_no_change(reason: str | None) -> None:
    assert change_for(reason, {}) is None


def test_a_change_that_would_be_refused_is_not_offered() -> None:
    assert change_for("flat", config(learning_rate=0.05)) is None  # ten times as high is out of bounds
    assert change_for("diverged", {"training": {"learning_rate": "?"}}) is None


@given(
    reason=st.sampled_from(sorted(CURES)),
    batch=st.integers(1, 1024),
    steps=st.integers(1, 1024),
    length=st.integers(8, 131072),
    rate=st.floats(1e-9, 0.1),
    path=st.sampled_from(["fast", "trl"]),
)
def test_a_changed_config_is_always_a_config(
    reason: str, batch: int, steps: int, length: int, rate: float, path: str
) -> None:
    before = config(per_device_train_batch_size=batch, gradient_accumulation_steps=steps, max_length=length,
                    learning_rate=rate, path=path)  # fmt: skip
    change = change_for(reason, before)
    if change is not None:
        after = parse_config(changed(before, change.config)).training
        assert after.per_device_train_batch_size <= batch
        if 3 * steps <= 1024:  # beyond, the bound of the accumulation is nearer
            assert after.per_device_train_batch_size * after.gradient_accumulation_steps >= batch * steps
