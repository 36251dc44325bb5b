"""Every knob really reaches the training: kinds of adapters, bits, optimizers, activations, early end, best check."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from studio.core.config import RunConfig
from studio.core.errors import Faults, Refused
from studio.core.tokenizer import load_chat
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.bits import bits_config, read_base
from worker.trainer import callbacks
from worker.trainer.attach import trained
from worker.trainer.job import Job, TrainingFailed
from worker.trainer.load import load
from worker.trainer.loss import held_out_loss
from worker.trainer.phases import train
from worker.trainer.prepare import prepare

QUICK = {"num_train_epochs": 1, "per_device_train_batch_size": 4, "learning_rate": 0.005}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "data.parquet", chats(16))


def loss_of(model: Any, work: Job) -> float:
    """The held-out loss of a model that was read from disk."""
    chat = load_chat(work.model_folder)
    held = prepare(work.data_parquet, chat, work.config.training).held_out
    return held_out_loss(model, held.data, 2, lambda: None)


def with_adapter(base: Any, folder: Path) -> PeftModel:
    """As anybody reads a published adapter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(base, folder, autocast_adapter_dtype=False)


KINDS: dict[str, dict[str, dict[str, Any]]] = {
    "rslora": {"adapter": {"r": 8, "use_rslora": True}},
    "dora": {"adapter": {"r": 4, "use_dora": True}},
    "pissa": {"adapter": {"r": 4, "init_lora_weights": "pissa"}},
    "some-blocks": {"adapter": {"r": 4, "layers_to_transform": "1"}},
    "head-too": {"adapter": {"r": 4, "modules_to_save": "embed_tokens"}},
    "nf4": {"adapter": {"r": 4}, "base": {"quantization": "nf4"}},
    "nf4-dora-bf16": {"adapter": {"r": 4, "use_dora": True}, "base": {"quantization": "nf4", "dtype": "bfloat16"}},
    "int8": {"adapter": {"r": 4}, "base": {"quantization": "int8"}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_adapter_learns_and_its_file_gives_the_same_loss_on_the_base_model(
    kind: str, tiny: Path, data: Path, tmp_path: Path
) -> None:
    work = job(tiny, data, tmp_path / "run", **KINDS[kind], training={**QUICK, "eval_share": 0.3})
    result = train(work, Recorder())
    assert result["tuned"]["loss"] < result["base"]["loss"]
    config, dtype = work.config.base, torch.bfloat16 if result["dtype"] == "bfloat16" else torch.float32
    base = read_base(tiny, dtype, "cpu", bits_config(config.quantization, config.bnb_4bit_use_double_quant, dtype))
    near = {"rel": 0.02 if result["dtype"] == "bfloat16" else 1e-4}
    assert loss_of(base, work) == pytest.approx(result["base"]["loss"], **near)
    tuned = with_adapter(base, tmp_path / "run/adapter")
    assert loss_of(tuned, work) == pytest.approx(result["tuned"]["loss"], **near)
    weights = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    if kind == "some-blocks":
        assert weights and all(".layers.1." in name for name in weights)
    if kind == "head-too":
        assert any("embed_tokens" in name for name in weights)


def test_a_whole_model_is_fine_tuned_published_and_proved(tiny: Path, data: Path, tmp_path: Path) -> None:
    training = {**QUICK, "eval_share": 0.3, "learning_rate": 0.002, "predict_with_generate": True}
    work = job(tiny, data, tmp_path / "run", adapter={"tuner": "full"}, training=training)
    result = train(work, Recorder())
    assert result["tuner"] == "full" and result["changed_tensors"] > 10
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run/adapter", dtype=torch.float32)
    assert loss_of(model, work) == pytest.approx(result["tuned"]["loss"], rel=1e-4)
    assert loss_of(read_base(tiny, torch.float32, "cpu"), work) == pytest.approx(result["base"]["loss"], rel=1e-4)
    assert result["tuned"]["loss"] < result["base"]["loss"] and result["base"]["exact_match"] is not None


@pytest.mark.parametrize("optim", ["adamw_8bit", "adafactor", "sgd"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_each_optimizer_learns(optim: str, dtype: str, tiny: Path, data: Path, tmp_path: Path) -> None:
    training = {**QUICK, "optim": optim, "learning_rate": 0.1 if optim == "sgd" else 0.01, "eval_share": 0.3}
    result = train(job(tiny, data, tmp_path / "run", base={"dtype": dtype}, training=training), Recorder())
    assert result["tuned"]["loss"] < result["base"]["loss"]


@pytest.mark.parametrize("kind", ["every_n", "full"])
def test_activations_computed_again_give_the_same_gradients(kind: str, tiny: Path, data: Path, tmp_path: Path) -> None:
    losses = []
    for chosen in ("none", kind):
        recorder = Recorder()
        training = {**QUICK, "activation_checkpointing": chosen, "neftune_noise_alpha": 5, "eval_share": 0}
        adapter = {"lora_dropout": 0.1}
        train(job(tiny, data, tmp_path / chosen, adapter=adapter, training=training), recorder)
        losses.append(recorder.series("loss"))
    assert losses[0] == losses[1] != {}


def test_training_ends_early_where_checks_get_no_better_and_the_best_weights_are_published(
    tiny: Path, data: Path, tmp_path: Path
) -> None:
    recorder = Recorder()
    training = {
        **QUICK, "num_train_epochs": 40, "learning_rate": 0.05, "eval_steps": 2, "eval_share": 0.3,
        "early_stopping_patience": 2, "load_best_model_at_end": True,
    }  # fmt: skip
    work = job(tiny, data, tmp_path / "run", training=training)
    result = train(work, recorder)
    checks = recorder.series("eval_loss")
    best = min(checks, key=lambda step: checks[step])
    assert result["steps"] < recorder.at[-1][1] and result["best_step"] == best < result["steps"]
    assert list(checks)[-2:] == [step for step in checks if step > best]
    told = [title for _, title, _ in recorder.events]
    assert any(title.startswith("Stopped early") for title in told)
    assert any(title.startswith(f"The weights of step {best} are kept") for title in told)
    tuned = with_adapter(read_base(tiny, torch.float32, "cpu"), tmp_path / "run/adapter")
    assert loss_of(tuned, work) == pytest.approx(checks[best], rel=1e-4) == pytest.approx(result["tuned"]["loss"])


@pytest.mark.parametrize("keeps_best", [True, False])
def test_a_stop_publishes_the_best_check_only_where_that_was_asked(
    keeps_best: bool, tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(Recorder):
        """Stops as soon as the best check lies behind."""

        def stop_wanted(self) -> bool:
            checks = self.series("eval_loss")
            return len(checks) > 2 and min(checks, key=checks.__getitem__) not in (0, max(checks))

        def best_wanted(self) -> bool:
            return keeps_best

    monkeypatch.setattr(callbacks, "LOOK_SECONDS", 0.0)
    recorder = Impatient()
    training = {**QUICK, "num_train_epochs": 40, "learning_rate": 0.05, "eval_steps": 2, "eval_share": 0.3}
    work = job(tiny, data, tmp_path / "run", training=training)
    result = train(work, recorder)
    checks = recorder.series("eval_loss")
    best = min(checks, key=checks.__getitem__)
    assert result["stopped"] and best < result["steps"]
    tuned = with_adapter(read_base(tiny, torch.float32, "cpu"), tmp_path / "run/adapter")
    if keeps_best:
        assert result["best_step"] == best and result["tuned"]["loss"] == pytest.approx(checks[best])
        assert loss_of(tuned, work) == pytest.approx(checks[best], rel=1e-4)
    else:
        assert result["best_step"] is None and loss_of(tuned, work) != pytest.approx(checks[best], rel=1e-4)


def test_a_run_continues_from_an_adapter_with_the_very_same_weights(tiny: Path, data: Path, tmp_path: Path) -> None:
    shape = {"r": 4, "lora_alpha": 8}
    first = job(tiny, data, tmp_path / "first", adapter=shape, training=QUICK)
    train(first, Recorder())
    again = job(tiny, data, tmp_path / "again", adapter={**shape, "continue_from": "first"}, training=QUICK)
    object.__setattr__(again, "continue_folder", tmp_path / "first/adapter")
    begun = trained(load(again).model)
    weights = load_file(tmp_path / "first/adapter/adapter_model.safetensors")
    own = {name.replace(".default", ""): parameter for name, parameter in begun.items()}
    assert set(own) == set(weights) and all(torch.equal(own[name], weights[name]) for name in own)
    recorder = Recorder()
    train(again, recorder)
    assert recorder.kept["continues"] == "first"
    other = job(tiny, data, tmp_path / "other", adapter={"r": 8, "continue_from": "first"}, training=QUICK)
    object.__setattr__(other, "continue_folder", tmp_path / "first/adapter")
    with pytest.raises(TrainingFailed, match="another shape"):
        load(other)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("adapter.lora_alpha", float("nan"), "Adapter scale can not be nan."),
        ("training.learning_rate", float("inf"), "Learning rate can not be inf."),
        ("training.max_steps", 0, "0 steps learn nothing."),
        ("adapter.lora_dropout", 1.0, "Dropout can not be 1.0."),
    ],
)
def test_what_no_form_takes_is_refused_by_the_trainer_too(
    path: str, value: float, words: str, tiny: Path, data: Path, tmp_path: Path
) -> None:
    work = job(tiny, data, tmp_path / "run", training=QUICK)
    group, name = path.split(".")
    spoilt = getattr(work.config, group).model_copy(update={name: value})
    object.__setattr__(work, "config", RunConfig.model_copy(work.config, update={group: spoilt}))
    with pytest.raises(Faults) as caught:
        train(work, Recorder())
    assert words in [fault.problem for fault in caught.value.faults]
    assert not (tmp_path / "run/result.json").exists()


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"training": {"activation_checkpointing": "offload"}}, "stand there already"),
        ({"base": {"attn_implementation": "flash_attention_2"}}, "needs an accelerator"),
        ({"base": {"quantization": "int8"}, "adapter": {"use_dora": True}}, "can not unpack"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="what a processor can not do")
def test_what_this_machine_can_not_do_is_refused_with_the_reason(
    groups: dict[str, Any], words: str, tiny: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(Faults, match=words):
        train(job(tiny, data, tmp_path / "run", **groups), Recorder())


@pytest.mark.parametrize(
    ("adapter", "words"),
    [({"modules_to_save": "lm_heat"}, "no layer called 'lm_heat'"), ({"layers_to_transform": "1-2"}, "no block 2")],
)
def test_layers_that_the_model_does_not_have_are_refused(
    adapter: dict[str, Any], words: str, tiny: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=words):
        load(job(tiny, data, tmp_path / "run", adapter=adapter))


def test_an_adapter_is_attached_on_the_meta_device_too(tiny: Path, data: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig

    from worker.trainer.attach import attach

    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny))
        model = attach(base, job(tiny, data, tmp_path / "run").config.adapter, job(tiny, data, tmp_path / "run"))
    assert {parameter.device.type for parameter in trained(model).values()} == {"meta"}
    assert json.dumps(sorted(trained(model)))
