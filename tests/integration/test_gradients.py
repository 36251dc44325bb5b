"""The gradient of one optimizer step on the fast path is the naive loop's, whatever the split into micro-batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from studio.core.learnt import learn
from studio.core.tokenizer import load_chat
from tests.integration.test_trainer import tuner_of
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import chats, job, write_data
from worker.trainer.train import FastTuner, TrlTuner
from worker.trainer.tuner import Tuner

STEP = 8  # examples of one optimizer step
CLOSE = 1e-5  # of the whole gradient's length

Make = Callable[..., Tuner]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def make(tiny: Path, tmp_path: Path) -> Make:
    """A trainer whose adapter is random on both sides: with B at 0, A would have no gradient."""

    def made(adapter: dict[str, Any] | None = None, **training: Any) -> Tuner:
        data = write_data(tmp_path / "data.parquet", chats(STEP))
        knobs = {"eval_share": 0, "per_device_train_batch_size": STEP, **training}
        tuner = tuner_of(job(tiny, data, tmp_path / "run", adapter={"r": 4, **(adapter or {})}, training=knobs))
        for name, parameter in tuner.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        return tuner

    return made


def gradient(tuner: Tuner) -> torch.Tensor:
    """All that was accumulated."""
    found = [p.grad.flatten() for p in tuner.model.parameters() if p.requires_grad and p.grad is not None]
    assert len(found) == sum(p.requires_grad for p in tuner.model.parameters())
    return torch.cat(found)


def one_step(tuner: Tuner) -> tuple[float, torch.Tensor]:
    """Loss and gradient of the first optimizer step, as transformers' loop makes it."""
    tuner.model.zero_grad()
    tuner.current_gradient_accumulation_steps = tuner.args.gradient_accumulation_steps
    batches = iter(tuner.get_train_dataloader())
    samples, items = tuner.get_batch_samples(batches, tuner.args.gradient_accumulation_steps, tuner.args.device)
    loss = sum(float(tuner.training_step(tuner.model, batch, items)) for batch in samples)
    return loss, gradient(tuner)


def naive_step(tuner: Tuner, tiny: Path) -> tuple[float, torch.Tensor]:
    """One example at a time, whole logits, plain cross-entropy, over the step's learnt tokens."""
    chat = load_chat(tiny)
    rows = [learn(messages, chat.template, chat.encoder, 1024) for messages in chats(STEP)]
    count, total = sum(label != -100 for row in rows for label in row.labels[1:]), 0.0
    tuner.model.zero_grad()
    for row in rows:
        logits = tuner.model(input_ids=torch.tensor([row.ids])).logits[0, :-1]
        loss = functional.cross_entropy(logits, torch.tensor(row.labels[1:]), reduction="sum") / count
        loss.backward()
        total += loss.item()
    return total, gradient(tuner)


def agree(found: tuple[float, torch.Tensor], wanted: tuple[float, torch.Tensor]) -> None:
    """Loss and gradient are the same."""
    assert found[0] == pytest.approx(wanted[0], rel=CLOSE)
    assert float((found[1] - wanted[1]).norm() / wanted[1].norm()) < CLOSE


@pytest.mark.parametrize("budget", [1, 150, 100_000], ids=["one-by-one", "several", "all-at-once"])
@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_gradient_of_a_step_is_the_naive_loops(make: Make, tiny: Path, accumulate: int, budget: int) -> None:
    tuner = make(
        per_device_train_batch_size=STEP // accumulate,
        gradient_accumulation_steps=accumulate,
        micro_batch_tokens=budget,
    )
    assert isinstance(tuner, FastTuner)
    agree(one_step(tuner), naive_step(tuner, tiny))
    parts = len(next(iter(tuner.get_train_dataloader()))["micro_batches"])
    assert parts == {1: STEP, 100_000: 1}.get(budget, parts) and (budget != 150 or 1 < parts < STEP)


@pytest.mark.parametrize("budget", [150, 100_000], ids=["several", "all-at-once"])
def test_packed_examples_do_not_see_one_another(make: Make, tiny: Path, budget: int) -> None:
    tuner = make(packing=True, micro_batch_tokens=budget)
    agree(one_step(tuner), naive_step(tuner, tiny))
    for batch in next(iter(tuner.get_train_dataloader()))["micro_batches"]:
        assert batch["packed_ids"].shape == (1, batch["tokens"]) and batch["room"] == batch["tokens"]
        assert batch["starts"].tolist() == [0, *batch["attention_mask"].sum(1).cumsum(0).tolist()]


def test_trls_own_path_takes_the_same_step(make: Make, tiny: Path) -> None:
    tuner = make(path="trl", per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert isinstance(tuner, TrlTuner)
    agree(one_step(tuner), naive_step(tuner, tiny))


def test_the_fast_parts_are_in_place_and_a_whole_step_with_them_is_the_naive_one(make: Make, tiny: Path) -> None:
    tuner = make()
    assert isinstance(tuner, FastTuner)
    assert tuner.quick == {"lora": 14, "norm": 5, "mlp": 2, "attention": 2, "packed": 0}
    agree(one_step(tuner), naive_step(tuner, tiny))


@pytest.mark.parametrize("adapter", [{"lora_dropout": 0.2}, {"use_dora": True}], ids=["dropout", "dora"])
def test_what_the_fast_linear_does_not_know_stays_pefts(make: Make, adapter: dict[str, Any]) -> None:
    tuner = make(adapter)
    assert isinstance(tuner, FastTuner) and tuner.quick["lora"] == 0
