"""The split of a step into micro-batches."""

from hypothesis import given
from hypothesis import strategies as st

from studio.core.microbatches import BUDGETS, micro_batches, most_tokens, token_budget

LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=40)


def size(lengths: list[int], part: list[int], padded: bool) -> int:
    """Tokens of a micro-batch."""
    found = [lengths[index] for index in part]
    return max(found) * len(found) if padded else sum(found)


@given(LENGTHS, st.integers(1, 3000), st.booleans())
def test_every_example_is_in_one_micro_batch_and_none_goes_over_the_budget(
    lengths: list[int], budget: int, padded: bool
) -> None:
    parts = micro_batches(lengths, budget, padded)
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or size(lengths, part, padded) <= budget for part in parts)
    in_order = [lengths[index] for part in parts for index in part]
    assert in_order == sorted(lengths, reverse=True)


@given(LENGTHS, st.integers(600, 3000))
def test_no_micro_batch_is_larger_than_the_forecast_says(lengths: list[int], budget: int) -> None:
    rows, longest = most_tokens(lengths, len(lengths), budget)
    for part in micro_batches(lengths, budget):
        assert size(lengths, part, True) <= max(budget, rows * longest)


def test_a_steps_micro_batches_are_of_about_the_same_size() -> None:
    assert [len(part) for part in micro_batches([100] * 9, 800)] == [5, 4]


def test_what_the_person_sets_goes_before_what_suits_the_device() -> None:
    assert token_budget(300, "cuda", "bfloat16") == 300
    assert token_budget(0, "cuda", "bfloat16") == BUDGETS["cuda", "bfloat16"]
