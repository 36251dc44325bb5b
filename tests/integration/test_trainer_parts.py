"""The trainer's parts: answers, proof, optimizer, metrics on their way, and its door."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.artifacts import Artifacts, new_id
from studio.core.examples import Example
from studio.core.services import Services
from studio.core.stores.claims import claim_run
from studio.core.stores.datasets import NewDataset
from studio.core.stores.runs import NewRun, Run
from studio.core.stores.users import LOCAL_USER
from studio.core.tokenizer import load_chat
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker import gpu
from worker import trainer as door
from worker.trainer import answers
from worker.trainer.answers import Answerer, questions
from worker.trainer.callbacks import Points
from worker.trainer.job import TrainingFailed
from worker.trainer.load import load
from worker.trainer.masters import MasterAdamW
from worker.trainer.phases import train
from worker.trainer.publish import prove

QUICK = {"num_train_epochs": 1, "per_device_train_batch_size": 4, "learning_rate": 0.005}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder. Its end of turn is also its padding, whose row of 0 could never be answered."""
    folder = make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][2] = torch.randn(64, generator=torch.Generator().manual_seed(5)) * 0.2
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_what_is_learnt_by_heart_is_answered_exactly(tiny: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.parquet", [chats(2)[1]] * 5, ["train"] * 4 + ["eval"])
    knobs = {**QUICK, "num_train_epochs": 60, "learning_rate": 0.01, "predict_with_generate": True}
    result = train(job(tiny, data, tmp_path / "run", training=knobs), Recorder())
    assert (result["base"]["exact_match"], result["tuned"]["exact_match"]) == (0.0, 1.0)
    (answer,) = result["answers"]
    assert answer["tuned"] == answer["reference"] == '{"count": 1, "item": "honey"}' != answer["base"]
    assert answer["asked"].startswith("Send 1 honey")


def test_answers_are_the_same_in_batches_and_one_by_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, chat = load(job(tiny, tmp_path / "none", tmp_path / "run")), load_chat(tiny)
    asked = questions([Example(one) for one in chats(9)], chat, chat.context)
    answerer = Answerer(loaded, frozenset(), lambda: None)
    together = answerer.answer(asked)
    monkeypatch.setattr(answers, "AT_ONCE", 1)
    longest = max(question.reference_tokens for question in asked)
    alone = answerer.answer([answers.Question(q.asked, q.reference, q.ids, longest) for q in asked])
    assert together == alone and len(set(together)) > 3


def test_a_question_ends_before_the_last_answer_and_fits_the_context(tiny: Path) -> None:
    chat = load_chat(tiny)
    (asked,) = questions([Example(chats(1)[0])], chat, chat.context)
    assert asked.reference == "To Anna." and asked.asked == "And to whom?"
    assert questions([Example(chats(1)[0])], chat, len(asked.ids)) == []


def test_an_adapter_that_did_not_move_or_is_not_finite_is_no_success() -> None:
    before = {"x.lora_A.weight": torch.ones(2), "x.lora_B.weight": torch.zeros(2)}
    with pytest.raises(TrainingFailed) as still:
        prove({**before, "x.lora_A.weight": torch.zeros(2)}, before)
    with pytest.raises(TrainingFailed) as broken:
        prove({**before, "x.lora_B.weight": torch.tensor([1.0, float("nan")])}, before)
    with pytest.raises(TrainingFailed) as partly:
        prove({"x.lora_A.weight": torch.zeros(2)}, before)
    assert [e.value.reason for e in (still, broken, partly)] == ["nothing_learnt", "diverged", "adapter_incomplete"]


def test_float32_masters_keep_the_updates_that_bfloat16_would_lose() -> None:
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = MasterAdamW([weight], lr=1e-4, weight_decay=0.0)
    for _ in range(100):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        optimizer.zero_grad()
    assert weight[0].item() == pytest.approx(0.99, abs=0.003)  # bfloat16 alone would stay at 1: its step there is 0.004
    other = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    again = MasterAdamW([other], lr=1e-4, weight_decay=0.0)
    again.load_state_dict(deepcopy(optimizer.state_dict()))  # as from disk
    for one, parameter in ((optimizer, weight), (again, other)):
        parameter.grad = torch.full_like(parameter, 0.5)
        one.step()
    assert torch.equal(optimizer.state_dict()["masters"][0], again.state_dict()["masters"][0])


def test_a_head_that_scales_its_logits_goes_the_long_way_to_the_same_numbers(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data(tmp_path / "data.parquet", chats(12))
    recorders = []
    for plain in (True, False):
        work = job(tiny, data, tmp_path / f"run-{plain}", training={**QUICK, "eval_share": 0.3})
        monkeypatch.setattr("worker.trainer.train.has_plain_head", lambda _, plain=plain: plain)
        monkeypatch.setattr("worker.trainer.loss.has_plain_head", lambda _, plain=plain: plain)
        recorders.append(Recorder())
        train(work, recorders[-1])
    short, long = recorders
    for name in ("loss", "eval_loss", "mean_token_accuracy", "learnt_tokens_per_s"):
        assert set(short.series(name)) == set(long.series(name)) != set()
    for name in ("loss", "eval_loss", "mean_token_accuracy"):
        assert list(short.series(name).values()) == pytest.approx(list(long.series(name).values()), rel=1e-4)


def test_a_bfloat16_run_trains_with_masters(tiny: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.parquet", chats(8))
    work = job(tiny, data, tmp_path / "run", base={"dtype": "bfloat16"}, training={**QUICK, "num_train_epochs": 4})
    result = train(work, Recorder())
    assert result["dtype"] == "bfloat16" and result["tuned"]["loss"] < result["base"]["loss"]


def test_points_are_written_once_a_second_or_at_fifty_rows() -> None:
    recorder, now = Recorder(), [0.0]
    points = Points(recorder, lambda: now[0])
    points.add(1, {"loss": 1.0, "grad_norm": float("nan")})
    assert recorder.points == []
    points.progress(1, 9)
    assert recorder.points == [(1, "loss", 1.0)] and recorder.at == [(1, 9)]  # the first step is seen at once
    points.add(2, {"loss": 1.0})
    points.progress(2, 9)
    assert recorder.at == [(1, 9)]
    now[0] = 1.5
    points.progress(3, 9)
    assert recorder.at[-1] == (3, 9) and len(recorder.points) == 2
    points.add(4, {str(i): 1.0 for i in range(50)})
    assert len(recorder.points) == 52


def test_the_probe_measures_every_format_and_never_chooses_float16() -> None:
    speeds = gpu.matmul_speeds(seconds=0.01)
    assert set(speeds) == {"float32", "bfloat16", "float16"} and min(speeds.values()) > 0
    assert gpu.fastest_dtype({"float32": 178, "bfloat16": 1.3, "float16": 900}) == "float32"
    assert gpu.fastest_dtype({"float32": 180, "bfloat16": 400, "float16": 900}) == "bfloat16"


def test_speeds_that_a_worker_measured_here_with_as_many_threads_are_not_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "matmul_speeds", lambda *_: {"float32": 1.0})
    device, speeds = gpu.best_device(), dict.fromkeys(gpu.DTYPES, 7.0)
    known: dict[str, Any] = {"devices": [{"title": device.title}], "cores": 2, "matmul": speeds}
    assert gpu.speeds_of(device, known, 2) == speeds
    others = [{**known, "devices": [{"title": "another"}]}, {**known, "matmul": {"float32": 7.0}}, {}]
    assert all(gpu.speeds_of(device, other, 2) == {"float32": 1.0} for other in others)
    assert gpu.speeds_of(device, known, 1) == {"float32": 1.0}


def queued(services: Services, model: Path, **training: float) -> Run:
    """A run in the records with its data on disk."""
    version_id = new_id()
    folder = services.artifacts.dataset_dir(version_id)
    folder.mkdir(parents=True)
    write_data(folder / "data.parquet", chats(12))
    services.datasets.add(NewDataset(LOCAL_USER, version_id, "orders", "o.jsonl", "0" * 64, {}, {}, 12, 0))
    config = {"base": {"repo": str(model), "dtype": "float32"}, "training": {**QUICK, **training}}
    run = services.runs.add(NewRun(LOCAL_USER, "first", config, str(model), "main", version_id))
    services.artifacts.run_dir(run.id).mkdir(parents=True, exist_ok=True)
    return run


@pytest.fixture
def claimed(services: Services, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A claimed run, and a door that leaves pytest's log handlers alone."""
    run = queued(services, tiny)
    claim = claim_run(services.db, run.id, {"host": "here", "worker_id": "w"})
    monkeypatch.setenv("TUNESMITH_CLAIM", str(claim))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    monkeypatch.setattr(door, "_log_to_stdout", lambda: None)
    return services.runs.get(run.id, None)


def test_the_door_trains_a_claimed_run_and_writes_its_record(services: Services, claimed: Run) -> None:
    assert door.main(claimed.id) == door.EXIT_DONE
    run, out = services.runs.get(claimed.id, None), Artifacts(services.settings.data_dir)
    assert run.state == "finalizing" and run.step == run.steps == 3 and run.first_step_at
    assert run.spec is not None and run.spec["model"]["source"] == "local"
    assert json.loads(out.result_path(run.id).read_text())["claim"] == run.claim
    assert len(services.metrics.series(run.id, ("loss",))["loss"]) == 3


def test_the_door_leaves_at_once_where_another_attempt_owns_the_run(
    services: Services, claimed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_CLAIM", str(claimed.claim - 1))
    assert door.main(claimed.id) == door.EXIT_CLAIM_LOST
    assert not list(services.artifacts.run_dir(claimed.id).iterdir())


def test_the_door_writes_why_a_run_failed(services: Services, claimed: Run) -> None:
    services.artifacts.data_parquet(claimed.dataset_version_id).unlink()
    assert door.main(claimed.id) == door.EXIT_FAILED
    failure = json.loads(services.artifacts.failure_path(claimed.id).read_text())
    assert (failure["reason"], failure["claim"]) == ("unreadable", claimed.claim)
    assert str(services.settings.data_dir) not in json.dumps(failure)
