"""What a run does beside learning and what it writes: arithmetic from config, counts and the shapes of the model."""

from typing import Any

import pytest

from studio.core.config import RunConfig, parse_config
from studio.core.estimate import plan
from studio.core.estimate.checks import Checking, Pace, checking, seconds_beside
from studio.core.estimate.written import BESIDE, trained_numbers, written
from studio.core.model_build import Build
from studio.core.use_cases.room import Room
from studio.ui.outlook import disk_note, disk_words

COUNTS = {"train": 800, "held_out": 80, "train_tokens": 80_000, "tokens": 86_000, "learnt": 17_600, "examples": 880}
PACE = Pace(speed=200.0, kind="cpu", weights=540e6)
BUILD = Build(layers=3, hidden_size=8, vocab_size=100, tied=True, shapes={"q_proj": (8, 8), "up_proj": (20, 8)})


def config(**groups: dict[str, Any]) -> RunConfig:
    return parse_config(dict(groups))


def found(one: RunConfig, **more: int) -> Checking:
    counts = COUNTS | more
    return checking(one, plan(one.training, counts["train"], counts["held_out"], counts["train_tokens"]), counts)


def test_held_out_examples_are_read_by_the_base_model_at_each_check_and_at_the_end() -> None:
    assert found(config()).read == 1 + 10  # 300 steps: the tenth check is the last step's
    assert found(config(training={"eval_steps": 140})).read == 1 + 2 + 1
    assert found(config()).tokens == 11 * 6_000
    assert found(config(training={"num_train_epochs": 0.1})).read == 1 + 1  # ten would cost more than a tenth


def test_nothing_held_out_takes_no_time() -> None:
    one = config(training={"predict_with_generate": True})
    assert found(one, held_out=0) == Checking(0, 0, 0, 0)
    assert seconds_beside(one, found(one, held_out=0), PACE, 1000) == 0


def test_a_check_reads_twice_as_fast_as_an_adapter_learns_and_answers_take_their_own_time() -> None:
    quiet = config()
    checks = found(quiet)
    prompts = seconds_beside(quiet, checks, PACE, 1000) - checks.tokens / 400
    assert 0 < prompts <= 0.05 * 1000 + 20  # on the way at most a twentieth, and the base model's one turn
    answers = config(training={"predict_with_generate": True})
    assert found(answers).answered == 80 and found(answers).words == 20
    more = seconds_beside(answers, found(answers), PACE, 1000) - seconds_beside(quiet, checks, PACE, 1000)
    assert more == pytest.approx(2 * 3 * 38 * (0.02 + 540e6 / 16e9 + 27 / 400))


def test_what_an_adapter_writes_grows_with_its_rank_and_its_optimizer() -> None:
    one = config(adapter={"r": 4})
    assert trained_numbers(one, BUILD) == 3 * 4 * (16 + 28)
    assert written(one, "float32", BUILD, 3).published == BESIDE + 4 * 528
    assert written(one, "float32", BUILD, 3).checkpoint == 528 * (4 + 8)
    assert written(one, "bfloat16", BUILD, 3).checkpoint == 528 * (2 + 4 + 8)  # and the float32 masters
    only = config(
        adapter={"r": 4, "target_modules": "q_proj", "layers_to_transform": "0-1", "modules_to_save": "lm_head"}
    )
    assert trained_numbers(only, BUILD) == 2 * 4 * 16 + 800
    pissa = config(adapter={"r": 4, "init_lora_weights": "pissa"})
    assert written(pissa, "float32", BUILD, 3).published == BESIDE + 2 * 4 * 528


def test_a_whole_model_is_written_whole_at_every_checkpoint() -> None:
    full = written(config(adapter={"tuner": "full"}), "float32", BUILD, 4, fetched=1000)
    numbers = 3 * (64 + 160) + 800
    assert (full.published, full.checkpoints) == (BESIDE + 4 * numbers, 4 * 12 * numbers)
    assert full.total == full.needed + full.checkpoints == BESIDE + 4 * numbers + 1000 + 48 * numbers


def test_a_disk_that_is_too_small_is_said_in_words() -> None:
    full = written(config(adapter={"tuner": "full"}), "float32", Build(layers=1, shapes={"a": (10**4, 10**4)}), 3)
    assert not disk_note(Room(full, 10**10)) and Room(full, 10**10).fits_whole
    assert "4.0 GB of 10 GB" in disk_words(Room(full, 10**10)) and "3 checkpoints" in disk_words(Room(full, 10**10))
    tight = Room(full, 10**9)
    assert tight.fits and not tight.fits_whole
    assert "No room for all checkpoints" in disk_note(tight) and "Free 3.0 GB" in disk_note(tight)
    assert "The disk is too small: 412 MB of 100 MB" in disk_note(Room(full, 10**8))
