"""A run that was cut off goes on from its newest whole checkpoint, and ends bit for bit where it would have ended."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.core import checkpoints
from studio.core.checkpoints import SEAL
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.trainer.job import Job, TrainingFailed, Yielded
from worker.trainer.phases import Attempt, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
TRAINING: dict[str, Any] = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_length": 256,
    "eval_share": 0,
    "learning_rate": 1e-3,
    "micro_batch_tokens": 100,  # so that a step has several micro-batches
}
EXAMPLES = 22  # six steps an epoch, the last one of fewer examples
STEPS = 18


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ragged examples."""
    return write_data(tmp_path_factory.mktemp("data") / "data.parquet", chats(EXAMPLES))


def make(model: Path, data: Path, out: Path, dtype: str = "float32", **training: Any) -> Job:
    """A job with dropout in its adapter."""
    adapter = {"r": 4, "lora_dropout": 0.1}
    return job(model, data, out, base={"dtype": dtype}, adapter=adapter, training={**TRAINING, **training})


class Cut(Recorder):
    """Asks to yield once `step` is reached, at the `looks`-th look after it: 1 is between two steps, 2 within one."""

    def __init__(self, step: int, looks: int) -> None:
        super().__init__()
        self._step, self._left = step, looks

    def yielding(self) -> bool:
        """Whether SIGTERM came."""
        if self.at and self.at[-1][0] >= self._step:
            self._left -= 1
        return self._left <= 0

    def move(self, to: str, title: str, detail: str = "") -> None:
        super().move(to, title, detail)
        if to == "finalizing" and self._step == STEPS:
            raise Yielded  # SIGTERM after the loop


def adapter_of(made: Job) -> dict[str, torch.Tensor]:
    """The published tensors."""
    return load_file(made.run_dir / "adapter" / "adapter_model.safetensors")


def cut(made: Job, step: int, looks: int, monkeypatch: pytest.MonkeyPatch) -> Cut:
    """An attempt that is asked to yield after `step`."""
    monkeypatch.setattr("worker.trainer.callbacks.FLUSH_SECONDS", 0.0)
    recorder = Cut(step, looks)
    with pytest.raises(Yielded):
        train(made, recorder, recorder.yielding)
    return recorder


Whole = Callable[[str], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def whole(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The adapter of a run that nobody cut off, by number format."""
    made: dict[str, dict[str, torch.Tensor]] = {}

    def of(dtype: str) -> dict[str, torch.Tensor]:
        if dtype not in made:
            one = make(model, data, tmp_path_factory.mktemp("whole"), dtype)
            assert train(one, Recorder())["steps"] == STEPS
            made[dtype] = adapter_of(one)
        return made[dtype]

    return of


@pytest.fixture
def place(model: Path, data: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Model, data and an empty folder for a run."""
    return model, data, tmp_path / "run"


@pytest.mark.parametrize(
    "where",
    [(2, 1, "float32"), (6, 1, "float32"), (9, 2, "float32"), (9, 2, "bfloat16"), (18, 1, "float32")],
    ids=["in-epoch-1", "at-an-epochs-end", "within-a-step-of-epoch-2", "bf16-with-masters", "after-the-last-step"],
)
def test_a_resumed_run_ends_with_the_very_same_adapter(
    place: tuple[Path, Path, Path], whole: Whole, monkeypatch: pytest.MonkeyPatch, where: tuple[int, int, str]
) -> None:
    step, looks, dtype = where
    made = make(*place, dtype)
    first = cut(made, step, looks, monkeypatch)
    assert first.saved == [step]
    second = Recorder()
    result = train(made, second)
    assert second.resumed_at == [step] and result["steps"] == STEPS
    expected, found = whole(dtype), adapter_of(made)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert sorted(second.series("loss")) == list(range(step + 1, STEPS + 1))


def test_all_learnt_tokens_count_over_the_attempts(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(make(model, data, tmp_path / "straight"), Recorder())
    made = make(model, data, tmp_path / "cut")
    cut(made, 7, 1, monkeypatch)
    assert train(made, Recorder())["supervised_tokens"] == straight["supervised_tokens"]


def test_checkpoints_come_by_time_two_are_kept_and_the_best_check(model: Path, data: Path, tmp_path: Path) -> None:
    made = make(model, data, tmp_path / "run", eval_share=0.2, eval_steps=4, learning_rate=5e-3)
    made = Job(**{**made.__dict__, "checkpoint_seconds": 0.0})
    recorder = Recorder()
    train(made, recorder)
    assert recorder.saved[:3] == [1, 2, 3]
    kept = checkpoints.sealed(made.run_dir / "checkpoints")
    checks = recorder.series("eval_loss")
    best = min(checks, key=lambda step: checks[step])
    assert {one.step for one in kept} == {*recorder.saved[-2:], best}
    assert all(checkpoints.is_whole(one) for one in kept)
    names = {name for one in kept for name in one.files}
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= names
    assert "training_args.bin" not in names


def test_what_was_measured_stands_in_the_records_before_its_checkpoint_does(
    model: Path, data: Path, tmp_path: Path
) -> None:
    made = Job(**{**make(model, data, tmp_path / "run").__dict__, "checkpoint_seconds": 0.0})

    class Strict(Recorder):
        def checkpoint(self, step: int) -> None:
            super().checkpoint(step)
            assert sorted(self.series("loss")) == list(range(1, step + 1))

    recorder = Strict()
    train(made, recorder)
    assert len(recorder.saved) == STEPS


def test_a_stop_by_the_person_leaves_a_checkpoint_and_the_adapter(model: Path, data: Path, tmp_path: Path) -> None:
    made = make(model, data, tmp_path / "run", num_train_epochs=1000)

    class Impatient(Recorder):
        def stop_wanted(self) -> bool:
            return bool(self.at) and self.at[-1][0] > 0

    recorder = Impatient()
    result = train(made, recorder)
    assert result["stopped"] and recorder.saved == [result["steps"]]


def test_the_base_model_is_checked_after_the_first_step_and_only_once_over_the_attempts(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    title = "Base model checked on held-out examples"
    first = Recorder()
    whole = train(make(model, data, tmp_path / "whole", eval_share=0.2), first)
    titles = [one for _, one, _ in first.events]
    assert titles.index("First step begins") < titles.index(title) and titles.count(title) == 1
    early = Attempt(make(model, data, tmp_path / "early", eval_share=0.2), Recorder(), bool)
    early.begin()
    early.check_base()
    assert early.base_loss == whole["base"]["loss"] is not None  # to the bit what it was before anything was learnt
    made = make(model, data, tmp_path / "cut", eval_share=0.2)
    before, after = cut(made, 3, 1, monkeypatch), Recorder()
    assert train(made, after)["base"]["loss"] == whole["base"]["loss"]
    assert [one for _, one, _ in (*before.events, *after.events)].count(title) == 1


def test_a_run_that_is_cut_off_in_the_check_of_its_base_model_makes_it_later(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(model, data, tmp_path / "run", eval_share=0.2)
    with monkeypatch.context() as patch, pytest.raises(Yielded):
        patch.setattr(Attempt, "check_loss", lambda *_: (_ for _ in ()).throw(Yielded))
        train(made, Recorder())
    second = Recorder()
    result = train(made, second)
    assert second.resumed_at == [1] and 0 < result["tuned"]["loss"] != result["base"]["loss"] > 0


@pytest.fixture
def two(model: Path, data: Path, tmp_path: Path) -> Job:
    """A run with two checkpoints, at steps 17 and 18."""
    made = Job(**{**make(model, data, tmp_path / "run").__dict__, "checkpoint_seconds": 0.0})
    train(made, Recorder())
    assert [one.step for one in checkpoints.sealed(made.run_dir / "checkpoints")] == [STEPS - 1, STEPS]
    return made


def flip(path: Path) -> None:
    """One byte of a file, changed."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    """Half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "rng_state.pth"])
def test_of_a_damaged_checkpoint_the_one_before_is_used_and_both_are_named(
    two: Job, harm: Callable[[Path], Any], name: str
) -> None:
    harm(two.run_dir / "checkpoints" / f"checkpoint-{STEPS}" / name)
    recorder = Recorder()
    assert train(two, recorder)["steps"] == STEPS
    assert recorder.resumed_at == [STEPS - 1]
    warning = next(event for event in recorder.events if event[0] == "warning")
    assert f"step {STEPS} is damaged" in warning[1] and f"step {STEPS - 1}" in warning[2]


def test_without_any_whole_checkpoint_the_run_asks(two: Job) -> None:
    for step in (STEPS - 1, STEPS):
        flip(two.run_dir / "checkpoints" / f"checkpoint-{step}" / "adapter_model.safetensors")
    with pytest.raises(TrainingFailed, match="is damaged") as caught:
        train(two, Recorder())
    assert caught.value.reason == "checkpoints_damaged" and "Retry" in caught.value.remedy


def test_a_folder_that_was_never_sealed_is_no_checkpoint(two: Job) -> None:
    (two.run_dir / "checkpoints" / f"checkpoint-{STEPS}" / SEAL).unlink()
    recorder = Recorder()
    train(two, recorder)
    assert recorder.resumed_at == [STEPS - 1]
    assert not any(kind == "warning" for kind, _, _ in recorder.events)


def test_a_full_disk_skips_a_checkpoint_with_one_warning(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Job(**{**make(model, data, tmp_path / "run").__dict__, "checkpoint_seconds": 0.0})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker.trainer.saving.checkpoints.seal", full)
    recorder = Recorder()
    assert train(made, recorder)["steps"] == STEPS
    assert [event[1] for event in recorder.events if event[0] == "warning"] == ["No checkpoint at step 1"]
    with contextlib.suppress(FileNotFoundError):
        assert list((made.run_dir / "checkpoints").iterdir()) == []
