"""One click after a failure: what is changed, and that it is a config."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.config import parse_config
from studio.core.remedies import change_for, changed

REASONS = ["out_of_memory", "host_out_of_memory", "device_out_of_memory", "diverged"]


def config(**training: object) -> dict[str, object]:
    """A config with some training settings."""
    return {"training": training}


@pytest.mark.parametrize("reason", REASONS[:3])
def test_want_of_memory_halves_what_is_read_at_once_and_keeps_the_step(reason: str) -> None:
    change = change_for(reason, config(per_device_train_batch_size=8, gradient_accumulation_steps=2))
    assert change is not None and "half" in change.words
    assert change.config == {"training": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}}


def test_one_example_at_once_is_cut_shorter_instead() -> None:
    change = change_for("out_of_memory", config(per_device_train_batch_size=1, max_length=1024))
    assert change is not None and change.config == {"training": {"max_length": 512}} and "512 tokens" in change.words
    assert change_for("out_of_memory", config(per_device_train_batch_size=1, max_length=128)) is None


def test_a_diverged_run_learns_more_calmly() -> None:
    change = change_for("diverged", config(learning_rate=2e-4))
    assert change is not None and change.config == {"training": {"learning_rate": 5e-5}}


@pytest.mark.parametrize("reason", [None, "native_crash", "disk_full", "crash_loop", "bug"])
def test_what_no_setting_helps_against_offers_no_change(reason: str | None) -> None:
    assert change_for(reason, {}) is None


@given(
    reason=st.sampled_from(REASONS),
    batch=st.integers(1, 1024),
    steps=st.integers(1, 1024),
    length=st.integers(8, 131072),
    rate=st.floats(1e-9, 0.1),
)
def test_a_changed_config_is_always_a_config(reason: str, batch: int, steps: int, length: int, rate: float) -> None:
    before = config(per_device_train_batch_size=batch, gradient_accumulation_steps=steps, max_length=length,
                    learning_rate=rate)  # fmt: skip
    change = change_for(reason, before)
    if change is not None:
        after = parse_config(changed(before, change.config)).training
        assert after.per_device_train_batch_size <= batch and after.max_length <= length
        if 3 * steps <= 1024:  # beyond, the bound of the accumulation is nearer
            assert after.per_device_train_batch_size * after.gradient_accumulation_steps >= batch * steps
        if batch % 2 == 0 and steps <= 512 and reason != "diverged":
            assert after.per_device_train_batch_size * after.gradient_accumulation_steps == batch * steps
