"""Operations a token, and which share of a measured speed they come to."""

import pytest

from studio.core.operations import attention_per_token, mean_seen, per_token, work


def test_a_frozen_base_needs_four_operations_a_parameter_and_full_fine_tuning_six() -> None:
    assert per_token(1000, attention=10) == 4 * 1000 + 3 * 10
    assert per_token(1000, attention=10, full=True) == 6 * 1000 + 3 * 10


def test_a_token_sees_itself_and_those_before_it() -> None:
    assert mean_seen([1]) == 1 and mean_seen([3]) == 2 and mean_seen([]) == 0
    assert mean_seen([3, 1]) == pytest.approx((1 + 2 + 3 + 1) / 4)
    assert attention_per_token(layers=2, width=8, seen=3) == 2 * 2 * 2 * 8 * 3  # scores and values, 2 each


def test_the_share_counts_the_head_for_learnt_tokens_only() -> None:
    one = work(body=1000, head=500, attention=0)
    assert one.share(tokens=100, learnt=10, seconds=2, gflops=1e-3) == pytest.approx((4e5 + 2e4) / 2e6)
    assert one.share(100, 10, 0.0, 1.0) is None and one.share(100, 10, 1.0, 0.0) is None
