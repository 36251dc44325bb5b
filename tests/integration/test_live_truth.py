"""What a run tells while it trains: its series, a few answers, alarms; and what it says when it ends badly."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.core.estimate.checks import PROMPTS
from studio.core.hub import Subject, gated
from studio.core.services import Services
from studio.core.stores.claims import Claimed, claim_run
from studio.core.stores.series import Sample
from studio.core.stores.users import LOCAL_USER
from studio.core.tokenizer import load_chat
from tests.integration.records import add_run
from tests.integration.tiny import VOCABULARY, make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.trainer import phases
from worker.trainer.answers import Question
from worker.trainer.effort import work_of
from worker.trainer.failures import explain
from worker.trainer.job import TrainingFailed
from worker.trainer.load import load
from worker.trainer.phases import train
from worker.trainer.samples import Sampler, chosen
from worker.trainer.template_match import check_template
from worker.trainer.train import FastTuner

QUICK = {"num_train_epochs": 6, "per_device_train_batch_size": 4, "learning_rate": 0.005, "eval_steps": 10}
SERIES = ("tokens_per_s", "learnt_tokens_per_s", "mean_token_accuracy", "grad_norm", "learning_rate", "matmul_share",
          "padding_share", "data_wait_share", "memory_bytes")  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty ragged chats."""
    return write_data(tmp_path / "data.parquet", chats(40))


def test_a_normal_run_tells_every_series_answers_prompts_and_raises_no_alarm(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.trainer.samples.PROMPT_SHARE", 1.0)
    recorder = Recorder()
    train(job(tiny, data, tmp_path / "a", training=QUICK), recorder)
    steps = set(recorder.series("loss"))
    assert all(set(recorder.series(name)) == steps for name in SERIES) and len(steps) == 54
    assert 0 < recorder.series("matmul_share")[20] < 2 and 0 <= recorder.series("padding_share")[20] < 0.7
    assert recorder.series("memory_bytes")[20] > 1e8
    assert recorder.alarms == []
    first, *later = recorder.answered
    assert first == 0 and set(later) <= set(recorder.series("eval_loss")) and len(later) >= 2
    asked = [{(one.asked, one.reference) for one in answers} for answers in recorder.answered.values()]
    assert len(asked[0]) == PROMPTS and all(one == asked[0] for one in asked)
    monkeypatch.setattr(phases, "chosen", lambda asked: [])  # nobody is asked, and nothing else is different
    train(job(tiny, data, tmp_path / "b", training=QUICK), Recorder())
    ours, theirs = (load_file(tmp_path / name / "adapter/adapter_model.safetensors") for name in "ab")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


class Slow:
    """Answers at the cost of so many seconds of a clock that nothing else moves."""

    def __init__(self, now: list[float], seconds: float) -> None:
        self.now, self.seconds = now, seconds

    def answer(self, asked: list[Question]) -> list[str]:
        self.now[0] += self.seconds
        return [one.asked.upper() for one in asked]


def test_answers_on_the_way_cost_at_most_a_twentieth_of_the_training() -> None:
    now, told = [0.0], []
    question = Question("a", "b", [1], 1)
    sampler = Sampler(lambda step, _: told.append(step), Slow(now, 3), Slow(now, 3), [question], lambda: now[0])
    for step in range(10, 101, 10):
        now[0] += 20  # of training
        sampler.check(step)
    assert told[0] == 0 and 2 <= len(told) - 1 <= 5
    assert 3 * (len(told) - 1) <= 0.05 * now[0]
    sampler.last(110)  # what came out is shown in any case, once
    sampler.last(110)
    assert told.count(110) == 1


def test_prompts_are_short_where_there_are_short_ones() -> None:
    long, *short = Question("l", "r", [1] * 2000, 900), *(Question(name, "r", [1] * 20, 9) for name in "abcd")
    assert chosen([long, short[0], *short]) == short[:3]  # the same one is asked once
    assert [one.reference_tokens for one in chosen([long])] == [88]


def test_samples_stand_in_the_records_by_step_and_go_where_a_run_is_resumed_before_them(services: Services) -> None:
    run = add_run(services)
    assert claim_run(services.db, run.id, {"host": "h", "worker_id": "w" * 12}) == 1
    pen = Claimed(services.db, run.id, 1)
    for step in (0, 20, 40, 20):
        pen.samples(step, [Sample("asked", "reference", f"at {step}"), Sample("b", "c", "d")])
    found = services.metrics.samples(run.id)
    assert list(found) == [0, 20, 40] and [one.answer for one in found[20]] == ["at 20", "d"]
    pen.resumed(20)
    assert list(services.metrics.samples(run.id)) == [0, 20]


def test_an_alarm_stands_in_the_timeline_once_however_often_it_is_raised(services: Services) -> None:
    run = add_run(services)
    claim_run(services.db, run.id, {"host": "h", "worker_id": "w" * 12})
    pen = Claimed(services.db, run.id, 1)
    for title in ("Overfitting since step 20", "Overfitting since step 40"):
        pen.alarm("overfitting", title, "Words.")
    told = [event.title for event in services.runs.events(run.id, LOCAL_USER) if event.kind == "alarm:overfitting"]
    assert told == ["Overfitting since step 20"]


def test_few_steps_and_examples_that_never_teach_an_end_are_said_at_the_start(tiny: Path, tmp_path: Path) -> None:
    endless = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "honey " * 100}]] * 6
    data, recorder = write_data(tmp_path / "data.parquet", endless), Recorder()
    knobs = {**QUICK, "num_train_epochs": 1, "eval_share": 0, "max_length": 60}
    train(job(tiny, data, tmp_path / "run", training=knobs), recorder)
    assert dict(recorder.alarms) == {
        "no_end": "None of 6 examples teaches when to stop",
        "few_steps": "Only 2 steps in all",
    }


def test_matmul_parameters_are_those_of_the_base_without_adapter_and_embedding(tiny: Path, tmp_path: Path) -> None:
    model = load(job(tiny, tmp_path / "none", tmp_path / "run")).model
    attention, mlp = 64 * 64 * 2 + 64 * 32 * 2, 3 * 64 * 128
    body, head, width = 2 * (attention + mlp), 64 * VOCABULARY, 64
    found = work_of(model, [9, 9])
    assert found is not None and found.learnt == 4 * head
    assert found.token == 4 * body + 3 * (4 * 2 * width * 5)


def test_a_loss_that_breaks_names_its_step_and_the_last_good_checkpoint(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = FastTuner.compute_loss, [0]

    def broken(self: FastTuner, *args: Any, **rest: Any) -> Any:
        calls[0] += 1
        return real(self, *args, **rest) * (float("nan") if calls[0] > 6 else 1.0)

    monkeypatch.setattr(FastTuner, "compute_loss", broken)
    work = job(tiny, data, tmp_path / "run", training={**QUICK, "eval_share": 0})
    with pytest.raises(TrainingFailed, match=r"nan at step 7\. Its last good checkpoint is that of step"):
        train(replace(work, checkpoint_seconds=0.0), Recorder())  # one after each step


def test_a_gradient_that_breaks_fails_the_run_at_its_own_step(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = FastTuner._micro_batches, [0]

    def broken(self: FastTuner, model: Any, *rest: Any) -> torch.Tensor:
        calls[0] += 1
        loss = real(self, model, *rest)
        if calls[0] == 3:
            next(p for p in model.parameters() if p.grad is not None).grad.fill_(float("inf"))
        return loss

    monkeypatch.setattr(FastTuner, "_micro_batches", broken)
    with pytest.raises(TrainingFailed, match=r"The gradient became (nan|inf) at step 3") as caught:
        train(job(tiny, data, tmp_path / "run", training=QUICK), Recorder())
    assert caught.value.reason == "diverged" and not (tmp_path / "run/adapter").exists()


def reason_of(work: Any) -> tuple[str, str]:
    """Reason and remedy of a run that fails."""
    with pytest.raises(Exception) as caught:
        train(work, Recorder())
    failure = explain(caught.value)
    assert failure is not None and failure.problem and failure.remedy
    return failure.reason, failure.remedy


def test_each_failure_has_a_reason_of_its_own_so_that_the_page_knows_what_to_change(
    tiny: Path, data: Path, tmp_path: Path
) -> None:
    wrong = {"target_modules": "q_prof"}
    bare = shutil.copytree(tiny, tmp_path / "bare")  # a vocabulary in which no answer can be closed
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).write_text((bare / name).read_text().replace("<|im_end|>", "<|some|>"))
    given = job(bare, data, tmp_path / "1", training=QUICK, base={"chat_template": "chatml"})
    assert reason_of(given)[0] == "no_template"
    assert reason_of(job(tiny, data, tmp_path / "2", training=QUICK, adapter=wrong))[0] == "unknown_layers"
    short = {**QUICK, "max_length": 8}
    assert reason_of(job(tiny, data, tmp_path / "3", training=short))[0] == "all_cut"
    assert reason_of(job(tiny, data, tmp_path / "4", training={**short, "overlong": "drop"}))[0] == "all_too_long"
    silent = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]] * 4
    unlearnt = write_data(tmp_path / "silent.parquet", silent)
    assert reason_of(job(tiny, unlearnt, tmp_path / "5", training=QUICK))[0] == "no_answers"
    with pytest.raises(TrainingFailed, match="another chat template") as caught:
        check_template(tiny, load_chat(tiny, "plain"))
    assert caught.value.reason == "template_mismatch"
    check_template(tiny, load_chat(tiny))
    closed = explain(gated(Subject("owner/name", "main")))
    assert closed is not None and closed.reason == "gated_model" and closed.remedy
