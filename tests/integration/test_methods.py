"""Methods that learn from comparisons and judged answers: what they are fed, and that they move the right way."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from studio.core.comparing import better_side, worse_side
from studio.core.examples import Example
from studio.core.learnt import learn_example, narrowed, plan
from studio.core.tokenizer import load_chat
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.trainer.job import TrainingFailed, Yielded
from worker.trainer.phases import Attempt, train

QUICK = {"num_train_epochs": 6, "per_device_train_batch_size": 4, "learning_rate": 0.005, "eval_share": 0.25}
PAIRS = [
    Example(
        [*before, {"role": "user", "content": f"How many {i}?"}, {"role": "assistant", "content": f"Send {i} jars."}],
        rejected=[{"role": "assistant", "content": f"No {i}, never."}],
    )
    for i in range(16)
    for before in [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}] if i % 3 == 0 else []]
]
JUDGED = [
    Example([one.messages[-2], {"role": "assistant", "content": said}], label=good)
    for one in PAIRS
    for said, good in ((one.messages[-1]["content"], True), (one.rejected[0]["content"], False))
    if one.rejected
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def write(path: Path, examples: list[Example]) -> Path:
    """`data.parquet` as the import writes comparisons and judged answers."""
    columns = {
        "row": pa.array(range(1, len(examples) + 1), pa.int64()),
        "messages": pa.array([json.dumps(one.messages) for one in examples], pa.string()),
        "rejected": pa.array([json.dumps(one.rejected) if one.rejected else None for one in examples], pa.string()),
        "split": pa.array([None] * len(examples), pa.string()),
        "label": pa.array([one.label for one in examples], pa.bool_()),
    }
    pq.write_table(pa.table(columns), path)
    return path


METHODS: dict[str, dict[str, Any]] = {
    "dpo": {"method": {"name": "dpo"}},
    "dpo-hinge": {"method": {"name": "dpo", "loss_type": "hinge"}},
    "dpo-ipo": {"method": {"name": "dpo", "loss_type": "ipo"}},
    "dpo-robust": {"method": {"name": "dpo", "loss_type": "robust", "label_smoothing": 0.1}},
    "dpo-apo-zero": {"method": {"name": "dpo", "loss_type": "apo_zero"}},
    "dpo-apo-down": {"method": {"name": "dpo", "loss_type": "apo_down"}},
    "dpo-pissa": {"method": {"name": "dpo"}, "adapter": {"init_lora_weights": "pissa"}},
    "dpo-full": {"method": {"name": "dpo"}, "adapter": {"tuner": "full"}, "training": {"learning_rate": 0.001}},
    "dpo-nf4": {"method": {"name": "dpo"}, "base": {"quantization": "nf4"}},
    "kto": {"method": {"name": "kto"}},
    "orpo": {"method": {"name": "orpo"}},
}


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_moves_the_right_way(kind: str, tiny: Path, tmp_path: Path) -> None:
    groups = {**METHODS[kind], "training": {**QUICK, **METHODS[kind].get("training", {})}}
    data = write(tmp_path / "data.parquet", JUDGED if kind == "kto" else PAIRS)
    recorder = Recorder()
    result = train(job(tiny, data, tmp_path / "run", **groups), recorder)
    margins = list(recorder.series("rewards/margins").values())
    assert margins[-1] > margins[0] and result["tuned"]["loss"] < result["base"]["loss"]
    if kind not in ("orpo",):  # the reference is the model as it began: nothing lies between them yet
        assert margins[0] == pytest.approx(0, abs=1e-3)
    if kind not in ("kto",):
        assert recorder.series("rewards/accuracies")
        assert list(recorder.series("eval_rewards/margins").values())[-1] > 0
    assert recorder.series("rewards/chosen") and recorder.series("rewards/rejected")


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_what_a_method_is_fed_is_what_the_preview_shows(name: str, tiny: Path, tmp_path: Path) -> None:
    examples = JUDGED if name == "kto" else PAIRS
    data, chat = write(tmp_path / "data.parquet", examples), load_chat(tiny)
    training = {**QUICK, "eval_share": 0}
    attempt = Attempt(job(tiny, data, tmp_path / "run", method={"name": name}, training=training), Recorder(), bool)
    attempt.begin()
    from worker.trainer.trainers import build

    tuner, fed = build(attempt.job, attempt.loaded, attempt.data, attempt.desk()), set()
    for batch in tuner.get_train_dataloader():
        columns = (batch[name] for name in ("input_ids", "attention_mask", "completion_mask"))
        for ids, there, learnt in zip(*columns, strict=True):
            size = int(there.sum())
            fed.add((tuple(ids[:size].tolist()), tuple(learnt[:size].tolist())))
    sides = [better_side(one) for one in examples] + [worse_side(one) for one in examples if one.rejected]
    shown = set()
    for one in sides:
        found = learn_example(one, chat.template, chat.encoder, learn="last_answer")
        shown.add((tuple(found.ids), tuple(int(label != -100) for label in found.labels)))
    assert fed == shown


def test_the_reference_is_the_model_with_its_adapter_off(tiny: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "data.parquet", PAIRS)
    attempt = Attempt(job(tiny, data, tmp_path / "run", method={"name": "dpo"}, training=QUICK), Recorder(), bool)
    attempt.begin()
    from worker.trainer.trainers import build

    tuner = build(attempt.job, attempt.loaded, attempt.data, attempt.desk())
    row = tuner.train_dataset[0]
    with torch.no_grad(), attempt.loaded.untuned():
        logits = attempt.loaded.model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
    places = [i for i, label in enumerate(row["labels"][1:]) if label != -100]
    said = float(sum(logits[i, row["labels"][i + 1]] for i in places))
    assert row["ref_chosen_logps"] == pytest.approx(said, rel=1e-4)


@pytest.mark.parametrize("name", ["dpo", "kto", "orpo"])
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "data.parquet", JUDGED if name == "kto" else PAIRS)
    training = {**QUICK, "num_train_epochs": 2, "eval_share": 0}
    make = {"method": {"name": name}, "training": training}
    whole = Recorder()
    train(job(tiny, data, tmp_path / "whole", **make), whole)
    looks = iter(range(10_000))
    cut = Recorder()
    work = job(tiny, data, tmp_path / "cut", **make)
    with pytest.raises(Yielded):
        train(work, cut, lambda: next(looks) > {"dpo": 7, "kto": 9, "orpo": 5}[name])
    assert 0 < cut.saved[-1] < whole.at[-1][0]
    train(work, cut)
    assert cut.series("loss") == whole.series("loss")


@pytest.mark.parametrize(("name", "words"), [("dpo", "DPO needs a better"), ("kto", "KTO needs answers")])
def test_a_dataset_of_another_kind_is_refused_by_the_trainer_too(
    name: str, words: str, tiny: Path, tmp_path: Path
) -> None:
    data = write_data(tmp_path / "data.parquet", chats(8))
    with pytest.raises(TrainingFailed, match=words) as caught:
        train(job(tiny, data, tmp_path / "run", method={"name": name}, training=QUICK), Recorder())
    assert caught.value.reason == "dataset_mismatch" and "Choose SFT" in caught.value.remedy


def test_learn_chooses_the_words(tiny: Path) -> None:
    chat = load_chat(tiny)
    messages = [
        {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"}, {"role": "assistant", "content": "four", "weight": 0},
        {"role": "user", "content": "five"}, {"role": "assistant", "content": "six"},
    ]  # fmt: skip
    planned = plan(messages, chat.template)

    def learnt(how: str) -> str:
        found = narrowed(planned, how)
        return "".join(found.text[first:last] for first, last in found.spans)

    words = ("one", "two", "three", "four", "five", "six")
    assert [word for word in words if word in learnt("answers")] == ["two", "six"]
    assert "six" in learnt("last_answer") and "two" not in learnt("last_answer")
    everything = learnt("everything")
    assert all(word in everything for word in ("one", "two", "three", "five", "six")) and "four" not in everything
