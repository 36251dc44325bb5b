"""Out of memory: the step goes on in smaller parts, with the same examples and the same gradient."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.test_trainer import tuner_of
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.trainer.batches import StepCollator, padded
from worker.trainer.job import TrainingFailed
from worker.trainer.memory import can_fail, rows_of
from worker.trainer.train import FastTuner

ROOT = Path(__file__).parents[2]
TINY_ERROR = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def long_chats(count: int) -> list[list[dict[str, Any]]]:
    """Examples of about 150 to 500 tokens."""
    found = []
    for i in range(count):
        asked = {"role": "user", "content": "apples " * 20}
        found.append([asked, {"role": "assistant", "content": "honey " * (30 + 4 * i)}])
    return found


def test_a_process_without_room_for_a_step_reads_less_at_once_and_learns_the_same(tiny: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.parquet", long_chats(32))

    def trained(mib: int) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.integration.short_of_memory", tiny, data, tmp_path / str(mib), mib, 32]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    free, tight = trained(0), trained(60)
    told = [detail for kind, title, detail in tight["events"] if title == "The memory was not enough"]
    assert told and "tokens at once now, not 65,536" in told[0] and "same examples" in told[0]
    assert not [title for _, title, _ in free["events"] if "memory" in title]
    assert free["steps"] == tight["steps"] == 2
    assert list(tight["loss"].values()) == pytest.approx(list(free["loss"].values()), rel=1e-4)


class Stingy:
    """Lets a micro-batch pass only while it has at most `room` tokens, padding counted."""

    def __init__(self, room: int) -> None:
        self.room, self.asked = room, 0
        self._real = FastTuner.compute_loss

    def __call__(self, tuner: FastTuner, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        self.asked += 1
        if inputs["room"] > self.room:
            torch.rand(3)  # what a dropout would draw
            raise RuntimeError(TINY_ERROR)
        return self._real(tuner, model, inputs, *rest, **more)


def gradient(tuner: FastTuner) -> torch.Tensor:
    """The gradient of the first step, as one vector."""
    batch = next(iter(tuner.get_train_dataloader()))
    tuner.training_step(tuner.model, batch, torch.tensor(batch["learnt"]))
    return torch.cat([p.grad.flatten() for p in tuner.model.parameters() if p.grad is not None])


def test_the_gradient_and_the_counts_are_those_of_a_step_that_fitted_at_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data.parquet", chats(22))
    knobs = {"per_device_train_batch_size": 16, "micro_batch_tokens": 100_000}
    whole = tuner_of(job(tiny, data, tmp_path / "a", training=knobs))
    recorder = Recorder()
    split = tuner_of(job(tiny, data, tmp_path / "b", training=knobs), recorder)
    expected = gradient(whole)
    stingy = Stingy(400)
    monkeypatch.setattr(FastTuner, "compute_loss", lambda *given, **more: stingy(*given, **more))
    found = gradient(split)
    assert float((found - expected).norm() / expected.norm()) < 1e-5 and stingy.asked > 4
    assert [title for _, title, _ in recorder.events].count("The memory was not enough") >= 1
    told, wanted = split._meter, whole._meter
    assert (told._tokens, told._learnt, told._pending) == (wanted._tokens, wanted._learnt, wanted._pending)
    assert told.take_loss() == pytest.approx(wanted.take_loss(), rel=1e-5)


def test_the_probe_finds_the_longest_batch_before_the_first_step_and_changes_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data.parquet", [*chats(21), long_chats(40)[-1]])
    knobs = {"per_device_train_batch_size": 4, "eval_share": 0, "micro_batch_tokens": 4096}
    tuner = tuner_of(job(tiny, data, tmp_path / "a", training=knobs, adapter={"lora_dropout": 0.1}))
    stingy, before = Stingy(800), torch.get_rng_state()
    tuner._saver.step_ended()
    monkeypatch.setattr(FastTuner, "compute_loss", lambda *given, **more: stingy(*given, **more))

    def work(batches: list[dict[str, Any]]) -> torch.Tensor:
        return tuner._micro_batches(tuner.model, batches, torch.tensor(10))

    tuner._room.probe(tuner.model, tuner.train_dataset, 4, work)
    assert stingy.asked > 1 and tuner.data_collator.budget <= 1000
    assert all(p.grad is None for p in tuner.model.parameters()) and tuner._meter._tokens == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_one_example_alone_that_does_not_fit_fails_the_run_with_its_length(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data.parquet", chats(8))
    tuner = tuner_of(job(tiny, data, tmp_path / "a", training={"per_device_train_batch_size": 4}))
    stingy = Stingy(1)
    monkeypatch.setattr(FastTuner, "compute_loss", lambda *given, **more: stingy(*given, **more))
    with pytest.raises(TrainingFailed, match="single example of") as caught:
        gradient(tuner)
    assert caught.value.reason == "out_of_memory" and caught.value.remedy


def test_rows_come_back_out_of_a_batch_as_they_went_in() -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8], "labels": [8]}]
    assert rows_of(padded(rows, 0)) == rows
    assert StepCollator(0, 3)(rows)["learnt"] == 2


def test_only_where_an_allocation_can_fail_the_longest_batch_is_tried_first() -> None:
    assert can_fail("cuda") and not can_fail("cpu")
