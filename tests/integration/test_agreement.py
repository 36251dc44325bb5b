"""What a person is shown and what the trainer's own batches hold: id for id, label for label, for every shape."""

import json
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import Refused
from studio.core.learnt import IGNORED
from studio.core.reader import ask
from studio.core.settings import Settings
from studio.core.tokenizer import load_chat
from studio.importing import seen
from tests.integration.shapes import FAMILIES, SHAPES, make_family, write_shape
from tests.integration.trainer_jobs import Recorder, job
from worker.trainer.job import TrainingFailed
from worker.trainer.phases import Attempt
from worker.trainer.prepare import prepare
from worker.trainer.trainers import build

LONGEST = 120
# What a family's template can not say; everything else it must.
REFUSES = {"chatml": {"openai_chat", "sharegpt"}, "chatml_without_system": {"openai_chat", "sharegpt"}, "gemma3": set(
    SHAPES)}  # fmt: skip


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`data.parquet` of every shape, made by the real importing process with the mapping that it guessed."""
    folder, made = tmp_path_factory.mktemp("shapes"), {}
    settings = Settings(data_dir=folder / "data")
    for shape in SHAPES:
        file = {"source": str(write_shape(folder, shape)), "name": f"{shape}.jsonl"}
        found = ask({"do": "inspect", **file}, settings)
        assert (found["format"], found["certain"]) == (shape, True)
        out = folder / shape
        report = ask({"do": "import", **file, "mapping": found["mapping"], "out": str(out)}, settings)
        assert (report["format"], report["kept"], report["dropped"]) == (shape, len(SHAPES[shape]), 0)
        made[shape] = out / "data.parquet"
    return made


def shown(data: Path, model: Path, count: int) -> tuple[list[Any], int]:
    """(ids, labels) of every example as the page gets them, those with something to learn, and how many are refused."""
    pairs, refused = [], 0
    for index in range(count):
        try:
            found = seen.preview(data, model, index, {"max_length": LONGEST})
        except Refused:
            refused += 1
            continue
        text = "".join(token["text"] for turn in found["turns"] for token in turn["tokens"])
        assert text == found["text"]
        learnt = [token["learnt"] for turn in found["turns"] for token in turn["tokens"]][: found["tokens"]]
        assert learnt == [label != IGNORED for label in found["labels"]]
        if any(label != IGNORED for label in found["labels"][1:]):
            pairs.append((tuple(found["ids"]), tuple(found["labels"])))
    return sorted(pairs), refused


def batched(tuner: Any) -> list[Any]:
    """(ids, labels) of every row that the trainer's own loader gives, padding cut off by its mask."""
    pairs = []
    for batch in [part for step in tuner.get_train_dataloader() for part in step["micro_batches"]]:
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            size = int(mask.sum())
            assert all(label == IGNORED for label in labels[size:].tolist())
            pairs.append((tuple(ids[:size].tolist()), tuple(labels[:size].tolist())))
    return sorted(pairs)


def check(model: Path, datasets: dict[str, Path], out: Path) -> set[str]:
    """Compare every shape for one model; gives the shapes of which something is refused."""
    training = {"max_length": LONGEST, "eval_share": 0, "per_device_train_batch_size": 2}
    attempt, refusing = None, set()
    for shape, data in datasets.items():
        work = job(model, data, out / shape, training=training)
        expected, refused = shown(data, model, len(SHAPES[shape]))
        refusing |= {shape} if refused else set()
        if not expected:
            continue
        if shape == "unpaired_preference":  # judged answers: learning them all would teach the bad ones too
            with pytest.raises(TrainingFailed, match="Choose KTO"):
                prepare(data, load_chat(model), work.config.training)
            continue
        if attempt is None:
            attempt = Attempt(work, Recorder(), bool)
            attempt.begin()
        prepared = prepare(data, attempt.chat, work.config.training)
        assert prepared.refused == refused
        assert batched(build(work, attempt.loaded, prepared, attempt.desk())) == expected, shape
    return refusing


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trainers_batches_are_what_is_shown(family: str, datasets: dict[str, Path], tmp_path: Path) -> None:
    refusing = check(make_family(tmp_path / family, family), datasets, tmp_path)
    assert refusing <= REFUSES.get(family, set()), refusing
    assert len(SHAPES) - len(refusing) >= 4


def test_the_trainers_batches_are_what_is_shown_for_the_starter_model(
    starter_model: Path, datasets: dict[str, Path], tmp_path: Path
) -> None:
    assert check(starter_model, datasets, tmp_path) <= {"openai_chat", "sharegpt"}


def test_the_child_shows_what_its_function_gives(settings: Settings, datasets: dict[str, Path], tmp_path: Path) -> None:
    model = make_family(tmp_path / "mistral", "mistral")
    for shape, index in (("openai_chat", 2), ("preference", 1), ("text", 0)):
        request = {"data": str(datasets[shape]), "model": str(model), "index": index, "max_length": LONGEST}
        found = ask({"do": "preview", **request}, settings)
        assert found == json.loads(json.dumps(seen.preview(datasets[shape], model, index, {"max_length": LONGEST})))


def test_a_rejected_answer_is_shown_beside_the_preferred_one(datasets: dict[str, Path], tmp_path: Path) -> None:
    model = make_family(tmp_path / "chatml", "chatml")
    found = seen.preview(datasets["preference"], model, 0, {"max_length": LONGEST})
    rejected = "".join(token["text"] for turn in found["rejected"] for token in turn["tokens"])
    assert "No" in rejected and "Ho" not in rejected and "Hi" not in rejected


def test_what_is_cut_is_shown_behind_the_cut(datasets: dict[str, Path], tmp_path: Path) -> None:
    model = make_family(tmp_path / "chatml", "chatml")
    found = seen.preview(datasets["text"], model, 0, {"max_length": 6})
    tokens = [token for turn in found["turns"] for token in turn["tokens"]]
    assert (found["tokens"], found["cut"]) == (6, len(tokens) - 6)
    assert [bool(token.get("cut")) for token in tokens] == [False] * 6 + [True] * (len(tokens) - 6)
    assert not any(token["learnt"] for token in tokens[6:]) and not found["ends"]
