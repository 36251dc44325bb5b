"""The trainer really trains a tiny model: what it is fed, what it tells, what it leaves behind."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.artifacts import sha256_file
from studio.core.errors import Refused
from studio.core.learnt import held_out, learn
from studio.core.tokenizer import load_chat
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.trainer.arguments import steps_of
from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.job import Job, TrainingFailed
from worker.trainer.load import load
from worker.trainer.phases import train
from worker.trainer.prepare import prepare
from worker.trainer.saving import Kept, Saver
from worker.trainer.train import FastTuner
from worker.trainer.trainers import build
from worker.trainer.tuner import Desk, Tuner

QUICK = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "learning_rate": 0.005}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty-two ragged chats."""
    return write_data(tmp_path / "data.parquet", chats(22))


def tuner_of(work: Job, recorder: Recorder | None = None) -> Tuner:
    """The trainer as the phases build it."""
    recorder, chat = recorder or Recorder(), load_chat(work.model_folder)
    look, meter, saver = StopLook(recorder), Meter(), Saver(work, recorder)
    found = prepare(work.data_parquet, chat, work.config.training)
    watch = Watch(recorder, meter, look, saver, 0.0)
    return build(work, load(work), found, Desk(meter, watch, look, saver, Kept("float32", 1, 0)))


def test_a_run_ends_with_a_proved_adapter_and_its_record(tiny: Path, data: Path, tmp_path: Path) -> None:
    recorder, out = Recorder(), tmp_path / "run"
    result = train(job(tiny, data, out, training={**QUICK, "eval_steps": 4}), recorder)
    assert json.loads((out / "result.json").read_text()) == result
    assert result["steps"] == 10 and result["supervised_tokens"] > 0 and result["claim"] == 3
    assert result["changed_tensors"] == result["tensors"] == len(load_file(out / "adapter/adapter_model.safetensors"))
    assert {"tokenizer.json", "chat_template.jinja", "adapter_config.json"} <= set(result["files"])
    assert all(entry["sha256"] == sha256_file(out / "adapter" / name) for name, entry in result["files"].items())
    assert result["tuned"]["loss"] < result["base"]["loss"] and result["peak_rss_mb"] > 100
    assert recorder.moves == ["running", "finalizing"] and recorder.at[-1] == (10, 10)
    assert set(recorder.series("loss")) == set(recorder.series("tokens_per_s")) == set(range(1, 11))
    assert set(recorder.series("eval_loss")) == {0, 4, 8, 10} and recorder.series("learning_rate")[2] == 0.005
    assert "First step" in [title for _, title, _ in recorder.events]
    assert {"dtype", "seed", "threads", "matmul_gflops", "dataset_sha256"} <= set(recorder.kept)
    assert str(tmp_path) not in (out / "adapter/adapter_config.json").read_text()
    assert not list(out.glob("adapter.part*"))


def test_what_the_model_is_fed_is_what_learn_gives_row_by_row(tiny: Path, data: Path, tmp_path: Path) -> None:
    work = job(tiny, data, tmp_path / "run", training={**QUICK, "max_length": 60})
    chat, held = load_chat(tiny), held_out(22, 0.1, 42)
    wanted = [learn(messages, chat.template, chat.encoder, 60) for i, messages in enumerate(chats(22)) if i not in held]
    expected = sorted((one.ids, one.labels) for one in wanted if one.learnt)
    assert 5 < len(expected) < len(wanted) and any(one.cut for one in wanted if one.learnt)
    fed = []
    for batch in [part for step in tuner_of(work).get_train_dataloader() for part in step["micro_batches"]]:
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            length = int(mask.sum())
            assert mask[:length].all() and (labels[length:] == -100).all()  # padded on the right
            fed.append((ids[:length].tolist(), labels[:length].tolist()))
    assert sorted(fed) == expected


def test_the_held_out_loss_is_the_mean_over_learnt_tokens(tiny: Path, data: Path, tmp_path: Path) -> None:
    work = job(tiny, data, tmp_path / "run", training={**QUICK, "eval_share": 0.3})
    result = train(work, Recorder())
    chat, model, total, count = load_chat(tiny), load(work).model, 0.0, 0
    for index in held_out(22, 0.3, 42):
        one = learn(chats(22)[index], chat.template, chat.encoder, 1024)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([one.ids])).logits[0, :-1].float()
        chosen = [i for i, label in enumerate(one.labels[1:]) if label != -100]
        total -= float(logits.log_softmax(-1)[chosen, [one.labels[i + 1] for i in chosen]].sum())
        count += len(chosen)
    assert result["base"]["loss"] == pytest.approx(total / count, rel=1e-5)


def test_a_base_model_that_gives_no_number_is_named_and_not_the_learning_rate(
    tiny: Path, data: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    next(iter(weights.values())).fill_(torch.nan)
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainingFailed) as failed:
        train(job(broken, data, tmp_path / "run", training=QUICK), Recorder())
    assert failed.value.reason == "model_unusable"


def test_rows_that_are_cut_or_left_out_are_counted_and_told(tiny: Path, tmp_path: Path) -> None:
    unlearnt = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No", "weight": 0}]
    long = [{"role": "user", "content": "apples"}, {"role": "assistant", "content": "honey " * 200}]
    data = write_data(tmp_path / "data.parquet", [*chats(8), unlearnt, long])
    recorder = Recorder()
    result = train(job(tiny, data, tmp_path / "run", training={**QUICK, "max_length": 200, "eval_share": 0}), recorder)
    told = [title for kind, title, _ in recorder.events if kind == "warning"]
    assert told == ["1 examples were cut", "1 examples were left out"]
    assert result["examples"] == 9 and result["held_out"] == 0 and result["base"]["loss"] is None


def test_a_dataset_without_anything_to_learn_is_refused_before_training(tiny: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.parquet", chats(6))
    with pytest.raises(TrainingFailed) as caught:
        train(job(tiny, data, tmp_path / "run", training={**QUICK, "max_length": 8}), Recorder())
    assert caught.value.reason == "all_cut" and "longest example" in caught.value.remedy


def test_a_stop_keeps_the_adapter_so_far(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.trainer.callbacks.LOOK_SECONDS", 0.0)
    recorder, out = Recorder(stop_at=8), tmp_path / "run"
    result = train(job(tiny, data, out, training={**QUICK, "num_train_epochs": 50}), recorder)
    assert result["stopped"] and 1 <= result["steps"] < 8
    assert (out / "adapter/adapter_model.safetensors").is_file() and (out / "result.json").is_file()
    assert recorder.moves == ["running"]  # the row is `stopping`: nothing may follow but the verdict


def test_a_stop_before_the_first_step_leaves_no_result(tiny: Path, data: Path, tmp_path: Path) -> None:
    result = train(job(tiny, data, tmp_path / "run", training=QUICK), Recorder(stop_at=1))
    assert result == {"stopped": True, "steps": 0} and not list((tmp_path / "run").iterdir())


def test_a_loss_that_is_not_a_number_fails_the_run_at_its_step(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, real = [0], FastTuner.compute_loss

    def broken(self: FastTuner, *args: Any, **rest: Any) -> Any:
        calls[0] += 1
        return real(self, *args, **rest) * (float("nan") if calls[0] == 3 else 1.0)

    monkeypatch.setattr(FastTuner, "compute_loss", broken)
    with pytest.raises(TrainingFailed, match="nan at step 3") as caught:
        train(job(tiny, data, tmp_path / "run", training=QUICK), Recorder())
    assert caught.value.reason == "diverged" and not (tmp_path / "run/adapter").exists()


def test_unknown_layers_are_refused_with_the_names_of_the_real_ones(tiny: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="'q_prof'") as caught:
        load(job(tiny, data, tmp_path / "run", adapter={"target_modules": "q_prof, v_proj"}))
    assert "q_proj, k_proj, v_proj, o_proj, gate_proj" in caught.value.remedy


def test_named_layers_alone_carry_the_adapter(tiny: Path, data: Path, tmp_path: Path) -> None:
    model = load(job(tiny, data, tmp_path / "run", adapter={"target_modules": "q_proj, v_proj", "r": 4})).model
    layers = {name.split(".lora_")[0].rpartition(".")[2] for name, p in model.named_parameters() if p.requires_grad}
    assert layers == {"q_proj", "v_proj"}


@pytest.mark.parametrize(("batch", "accumulate", "epochs"), [(4, 1, 2), (3, 2, 1.5), (64, 4, 1)])
def test_the_forecast_of_steps_is_what_the_trainer_makes(
    tiny: Path, data: Path, tmp_path: Path, batch: int, accumulate: int, epochs: float
) -> None:
    knobs = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulate,
        "num_train_epochs": epochs,
    }
    work = job(tiny, data, tmp_path / "run", training={**QUICK, **knobs})
    tuner = tuner_of(work)
    *_, made = tuner.set_initial_training_values(tuner.args, tuner.get_train_dataloader())
    assert steps_of(work, len(tuner.train_dataset)) == made


def test_no_hub_token_is_in_the_trainers_arguments(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    tuner = tuner_of(job(tiny, data, tmp_path / "run", training=QUICK))
    assert "hf_secretsecret" not in tuner.args.to_json_string()
    assert tuner.args.bf16 is False and tuner.args.fp16 is False and tuner.args.activation_checkpointing is False
