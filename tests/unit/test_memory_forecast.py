"""Memory is arithmetic over what a dry run counted; the nearest change that fits is the cheapest one."""

import pytest

from studio.core.config import RunConfig, parse_config
from studio.core.estimate.fitting import candidates, nearest
from studio.core.estimate.memory import Load, least, memory
from studio.core.estimate.terms import PASSES, Counted, Shape, Terms, Weights, counted_of
from studio.core.model_build import Build

NOTHING = Terms((0.0,) * 6, (0.0,) * 3)
SAVED = Terms((0.0,) * 6, (0.0, 100.0, 0.0))
WEIGHTS = Weights(block=10_000, block_packed=9_000, once=5_000, block_trained=100, once_trained=0, largest=3_000)


def counted(**terms: Terms) -> Counted:
    return Counted(WEIGHTS, {name: terms.get(name, NOTHING) for name in PASSES}, chunk=512, accumulates=False)


def config(**groups: dict[str, object]) -> RunConfig:
    return parse_config(dict(groups))


def test_what_is_saved_grows_with_blocks_and_tokens() -> None:
    whole = counted(saved=SAVED, body=SAVED, head=SAVED)
    found = [
        memory(config(), "float32", whole, blocks, Load((Shape(2, 50, 10),), None), False).saved for blocks in (4, 8)
    ]
    assert found == [4 * 100 * 100, 8 * 100 * 100]


def test_four_bits_shrink_only_what_can_be_packed() -> None:
    load = Load((Shape(1, 8, 8),), None)
    whole, packed = (
        memory(config(base={"quantization": kind}), "bfloat16", counted(), 4, load, False).weights
        for kind in ("none", "nf4")
    )
    assert whole == 2 * (5_000 + 4 * 10_000)
    assert packed < 2 * (5_000 + 4 * 1_000) + 0.6 * 4 * 9_000


def test_the_optimizer_keeps_masters_of_a_bfloat16_adapter_alone() -> None:
    load = Load((Shape(1, 8, 8),), None)
    found = {dtype: memory(config(), dtype, counted(), 4, load, False).optimizer for dtype in ("float32", "bfloat16")}
    assert found == {"float32": 8 * 400, "bfloat16": 12 * 400}


def test_a_check_on_many_examples_can_be_the_highest_moment() -> None:
    checks = counted(saved=SAVED, body=SAVED, check_body=Terms((0.0, 1e6, 0.0, 0.0, 0.0, 0.0), (0.0,) * 3))
    found = memory(config(), "float32", checks, 2, Load((Shape(1, 8, 8),), Shape(16, 8, 8)), False)
    assert (found.saved, found.scratch) == (0, 128 * 10**6)


def test_what_was_counted_comes_back_from_the_records_and_an_older_count_does_not() -> None:
    kept = counted(saved=SAVED).as_json()
    assert counted_of(kept) == counted(saved=SAVED)
    assert counted_of({**kept, "version": 0}) is None


def test_the_range_before_a_dry_run_holds_the_weights_and_has_an_upper_end_above_the_lower() -> None:
    build = Build(layers=30, hidden_size=576, intermediate_size=1536, vocab_size=49152, tied=True,
                  shapes={"q_proj": (576, 576), "up_proj": (1536, 576)})  # fmt: skip
    low, high = least(config(), "bfloat16", build, Load((Shape(4, 256, 512),), None))
    assert 2 * (49152 * 576 + 30 * (576 * 576 + 1536 * 576)) < low < high


@pytest.mark.parametrize(
    ("room", "words"),
    [(900, "Read 512 tokens at once, in steps as large"), (500, "Compute activations again instead of keeping"),
     (300, "Load the base model in 4 bits"), (10, None)],
)  # fmt: skip
def test_the_nearest_change_is_the_first_that_fits(room: int, words: str | None) -> None:
    def needed(changed: RunConfig) -> int:
        size = 250 if changed.base.quantization == "nf4" else 1000
        if changed.training.activation_checkpointing == "full":
            return min(size, 500)
        return min(size, 800) if changed.training.micro_batch_tokens else size

    change = nearest(config(training={"max_length": 256}), room, needed, longest=256)
    assert (change.words if change else None) == words


@pytest.mark.parametrize("method", ["dpo", "kto", "orpo"])
def test_where_the_batches_are_the_persons_fewer_examples_are_read_at_once(method: str) -> None:
    found = list(candidates(config(method={"name": method}), 512))
    assert found[0].words == "Read 4 examples at once, in steps as large"
    assert all("micro_batch_tokens" not in change.part.get("training", {}) for change in found)


def test_no_change_asks_for_what_does_not_go_together() -> None:
    full = config(adapter={"tuner": "full"})
    assert all("base" not in change.part for change in candidates(full, 2048))
