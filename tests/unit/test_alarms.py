"""What curves say: a normal run nothing, each trouble its own sentence."""

import math
import random
from collections.abc import Callable

import pytest

from studio.core.alarms import FIRST_LOOK, alarms, few_steps, no_end

Loss = Callable[[float], float]


def curves(loss: Loss, steps: int = 100, noise: float = 0.1, held_out: Loss | None = None, seed: int = 1) -> dict:
    """A run's series: `loss` and `held_out` of the share that is done, the first one noisy as training is."""
    rng, every = random.Random(seed), max(1, steps // 10)
    held = held_out or (lambda share: loss(share) * 1.05)
    found = {"loss": [], "grad_norm": [], "eval_loss": [(0, held(0.0))]}
    for step in range(1, steps + 1):
        value = loss(step / steps) * max(0.05, 1 + rng.gauss(0, noise))
        found["loss"].append((step, value))
        found["grad_norm"].append((step, 0.3 + value * rng.random()))
        if step % every == 0:
            found["eval_loss"].append((step, held(step / steps)))
    return found


def falling(share: float, start: float = 2.2, end: float = 0.4) -> float:
    """A loss that falls fast and then slowly."""
    return end + (start - end) * math.exp(-5 * share)


def kinds(series: dict, steps: int = 100, ended: bool = False) -> list[str]:
    """The kinds of all alarms."""
    return [one.kind for one in alarms(series, steps, ended)]


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("end", [0.05, 0.4, 1.7])
def test_a_run_that_learns_raises_no_alarm_at_any_moment(noise: float, end: float) -> None:
    for seed in range(6):
        whole = curves(lambda share: falling(share, end=end), noise=noise, seed=seed)
        for upto in range(0, 101, 4):
            seen = {name: [p for p in points if p[0] <= upto] for name, points in whole.items()}
            assert kinds(seen, ended=upto == 100) == [], (seed, upto)


def test_a_run_that_begins_with_one_odd_step_and_a_slow_one_are_no_alarms() -> None:
    odd = curves(falling)
    odd["loss"][40] = (41, 9.0)
    assert kinds(odd) == []
    assert kinds(curves(lambda share: 2.0 - 0.5 * share)) == []


@pytest.mark.parametrize(
    "loss",
    [
        lambda share: 2.0 + 6 * share,
        lambda share: falling(share) + (12 * (share - 0.5) if share > 0.5 else 0),
        lambda share: falling(share) if share < 0.6 else 7.5,
    ],
)
def test_a_loss_that_rises_is_diverging_and_says_from_where_to_where(loss: Loss) -> None:
    first, *_ = alarms(curves(loss), 100)
    assert first.kind == "diverging" and "learning rate" in first.text
    now = float(first.title.rpartition(", ")[2].removesuffix(" now"))
    assert "rising" in first.title and now == pytest.approx(loss(0.97), rel=0.15)


def test_a_loss_that_stands_still_is_flat_from_the_start() -> None:
    still = curves(lambda share: 2.1, noise=0.03)
    assert kinds(still) == ["flat"]
    early = {name: [p for p in points if p[0] <= 20] for name, points in still.items()}
    assert kinds(early) == []  # too early to say
    assert kinds(curves(lambda share: 0.01, noise=0.3)) == []  # there is nothing left to learn


def test_overfitting_names_the_step_and_the_better_checkpoint() -> None:
    def held(share: float) -> float:
        return falling(share) + max(0.0, share - 0.4)

    (found,) = alarms(curves(falling, held_out=held), 100)
    assert found.kind == "overfitting" and found.step == 40 and found.title == "Overfitting since step 40"
    assert "checkpoint of step 40 is the better one" in found.text
    one_worse = curves(falling, held_out=lambda share: falling(share) + (0.1 if share == 1 else 0))
    assert kinds(one_worse) == []


def test_held_out_and_training_loss_that_rise_together_are_not_overfitting() -> None:
    def both(share: float) -> float:
        return falling(share) + max(0.0, share - 0.4)

    assert "overfitting" not in kinds(curves(both, noise=0.02))


def test_gradients_of_zero_and_a_model_no_better_than_the_base_learnt_nothing() -> None:
    zero = {"loss": [(1, 2.0), (2, 2.0), (3, 2.0)], "grad_norm": [(1, 0.0), (2, 0.0), (3, 0.0)]}
    assert kinds(zero) == ["nothing_learnt"]
    same = curves(lambda share: 2.1, noise=0.4, held_out=lambda share: 2.0)
    assert kinds(same, ended=True)[0] == "nothing_learnt" and "nothing_learnt" not in kinds(same)


def test_a_model_that_became_far_worse_than_the_base_wants_a_lower_rate_and_not_a_higher_one() -> None:
    def worse(share: float) -> float:
        return 6.0 if share < 0.2 else 4.5

    checks = [(0, 2.0), (100, 4.5)]
    (found,) = alarms({**curves(worse), "eval_loss": checks}, 100, ended=True)
    assert found.kind == "diverging" and "lower" not in found.title and "quarter" in found.text


def test_a_loss_that_stands_above_where_it_began_is_not_called_flat() -> None:
    assert "flat" not in kinds(curves(lambda share: 3.0 if share < 0.1 else 3.4, noise=0.05))


@pytest.mark.parametrize(("steps", "said"), [(0, 0), (1, 1), (9, 1), (10, 0)])
def test_fewer_than_ten_steps_are_said_as_soon_as_they_are_known(steps: int, said: int) -> None:
    assert len(few_steps(steps)) == said == len(alarms({}, steps))


def test_series_with_gaps_and_nan_break_nothing() -> None:
    odd = {"loss": [(i, math.nan if i % 3 else 1.0) for i in range(3 * FIRST_LOOK)], "eval_loss": [(0, math.inf)]}
    assert kinds(odd) in ([], ["flat"])
    assert kinds({"loss": [], "grad_norm": [(1, 0.1)]}) == []


def test_every_alarm_has_a_sentence_and_what_helps() -> None:
    for one in [*few_steps(3), no_end(12), *alarms(curves(lambda share: 2.1 + 5 * share), 100)]:
        assert one.title and not one.title.endswith(".") and one.text.endswith(".")
