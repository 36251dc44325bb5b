"""Steps and time are arithmetic."""

import pytest

from studio.core.config import TrainingConfig
from studio.core.estimate import plan, seconds, seconds_left, tokens_per_second


def test_steps_follow_batch_accumulation_and_epochs() -> None:
    training = TrainingConfig(per_device_train_batch_size=4, gradient_accumulation_steps=2, num_train_epochs=3)
    planned = plan(training, examples=101, held_out=10, tokens=5000)
    assert (planned.steps_per_epoch, planned.steps, planned.tokens) == (13, 39, 15_000)


def test_a_part_of_an_epoch_is_at_least_one_step() -> None:
    assert plan(TrainingConfig(num_train_epochs=0.01), examples=8, held_out=0, tokens=80).steps == 1


def test_the_faster_number_format_gives_the_speed() -> None:
    slow_bf16 = tokens_per_second(135_000_000, {"float32": 178.0, "bfloat16": 1.3})
    fast_bf16 = tokens_per_second(135_000_000, {"float32": 180.0, "bfloat16": 400.0})
    assert slow_bf16 is not None and fast_bf16 is not None and fast_bf16 > slow_bf16 > 50


def test_an_unmeasured_machine_gets_no_number() -> None:
    assert tokens_per_second(135_000_000, {}) is None
    assert seconds(1000, None) is None


@pytest.mark.parametrize(("step", "left"), [(0, None), (1, None), (50, 50.0), (100, 0.0)])
def test_time_left_follows_the_pace_so_far(step: int, left: float | None) -> None:
    assert seconds_left(step, 100, float(step)) == left
