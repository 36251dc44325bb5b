"""Tokenised examples are kept for later attempts: the same to the last id, made anew where anything is wrong."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from studio.core.tokenizer import load_chat
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.trainer import tokenised as keeping
from worker.trainer.job import Job, Shelf
from worker.trainer.phases import train, within
from worker.trainer.prepare import Prepared
from worker.trainer.tokenised import key_of, make_room, tokenised

QUICK = {"num_train_epochs": 1, "per_device_train_batch_size": 4, "eval_share": 0.2, "max_length": 64}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ragged chats."""
    return write_data(tmp_path_factory.mktemp("data") / "data.parquet", chats(16))


@pytest.fixture
def work(model: Path, data: Path, tmp_path: Path) -> Job:
    """A job with a shelf."""
    return shelved(job(model, data, tmp_path / "run", training=QUICK), tmp_path)


def shelved(one: Job, tmp_path: Path, most: int = 10**9) -> Job:
    """The job with a shelf of at most so many bytes."""
    return replace(one, shelf=Shelf(tmp_path / "tokenised", "v1", most))


def made(one: Job) -> Prepared:
    """What an attempt at this job trains on."""
    chat = load_chat(one.model_folder, one.config.base.chat_template)
    return tokenised(one, chat, within(one, chat))


def never(*_: Any, **__: Any) -> Prepared:
    """Stands for the tokenizer where nothing may be made anew."""
    raise AssertionError("it was made anew")


def files(tmp_path: Path) -> list[Path]:
    """What is kept."""
    return sorted(path for path in (tmp_path / "tokenised").rglob("*") if path.is_file())


def same(one: Prepared, other: Prepared) -> bool:
    """Whether two are equal to the last id."""
    columns = [(p.train.data.to_dict(), p.held_out.data.to_dict(), p.held_out.examples) for p in (one, other)]
    counts = [{**vars(p), "train": 0, "held_out": 0} for p in (one, other)]
    return columns[0] == columns[1] and counts[0] == counts[1]


@pytest.mark.parametrize("training", [QUICK, {**QUICK, "eval_share": 0, "max_length": 80, "overlong": "drop"}])
def test_the_next_attempt_reads_what_the_first_one_made(
    training: dict[str, Any], model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = shelved(job(model, data, tmp_path / "run", training=training), tmp_path)
    first = made(work)
    monkeypatch.setattr(keeping, "prepare", never)
    again = made(work)
    assert same(first, again) and len(again.train) == len(first.train) > 0
    assert isinstance(again.train.data, Dataset) and not again.train.data.cache_files


def test_a_run_on_kept_tokens_learns_exactly_the_same(
    work: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Recorder(), Recorder()
    train(work, first)
    monkeypatch.setattr(keeping, "prepare", never)
    train(replace(work, run_dir=tmp_path / "clone"), second)
    assert first.series("loss") == second.series("loss") != {}
    assert first.series("eval_loss") == second.series("eval_loss")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_file_is_made_anew(place: int, work: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(work)
    found = files(tmp_path)
    assert [path.name for path in found] == ["facts.json", "held_out.arrow", "train.arrow"]
    raw = bytearray(found[place].read_bytes())
    raw[len(raw) // 2] ^= 1
    found[place].write_bytes(raw)
    assert same(first, made(work))
    monkeypatch.setattr(keeping, "prepare", never)
    assert same(first, made(work))  # and it is whole again


@pytest.mark.parametrize(
    "groups",
    [
        {"training": {**QUICK, "max_length": 65}},
        {"training": {**QUICK, "overlong": "drop"}},
        {"training": {**QUICK, "seed": 1}},
        {"training": {**QUICK, "eval_share": 0.3}},
        {"training": QUICK, "method": {"learn": "last_answer"}},
        {"training": QUICK, "base": {"chat_template": "plain"}},
    ],
    ids=str,
)
def test_what_changes_the_tokens_changes_the_key_and_nothing_else_does(
    groups: dict[str, Any], model: Path, data: Path, tmp_path: Path
) -> None:
    def key(**of: Any) -> str:
        one = job(model, data, tmp_path / "run", **of)
        return key_of(one, load_chat(model, one.config.base.chat_template), one.config.training)

    plain = key(training=QUICK)
    assert key(**groups) != plain
    assert key(training={**QUICK, "learning_rate": 0.01, "packing": True}, adapter={"r": 4}) == plain


def test_another_file_another_tokenizer_or_other_code_is_another_key(
    work: Job, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = load_chat(model)
    plain = key_of(work, chat, work.config.training)
    other = write_data(tmp_path / "data.parquet", chats(17))
    assert key_of(replace(work, data_parquet=other), chat, work.config.training) != plain
    changed = make_tiny_model(tmp_path / "model")
    assert key_of(replace(work, model_folder=changed), chat, work.config.training) == plain  # the same words again
    (changed / "tokenizer_config.json").write_text("{}")
    assert key_of(replace(work, model_folder=changed), chat, work.config.training) != plain
    monkeypatch.setattr(keeping, "code_hash", lambda: "other")
    assert key_of(work, chat, work.config.training) != plain


def test_the_shelf_is_bounded_and_what_was_not_read_for_longest_goes_first(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "v1", 250)
    for number, name in enumerate(("v1/old", "v2/middle", "v1/new", "v1/.part-dead", "v1/.part-now")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "train.arrow").write_bytes(bytes(100))
        os.utime(tmp_path / name, (10_000 + number, 10_000 + number))
    os.utime(tmp_path / "v1/.part-now", (20_000, 20_000))
    make_room(shelf, now=20_000)
    assert {path.name for path in tmp_path.glob("*/*")} == {"middle", "new", ".part-now"}


@pytest.mark.parametrize("most", [0, 10])
def test_what_has_no_room_is_not_kept(most: int, model: Path, data: Path, tmp_path: Path) -> None:
    work = shelved(job(model, data, tmp_path / "run", training=QUICK), tmp_path, most)
    assert same(made(work), made(replace(work, shelf=None))) and files(tmp_path) == []


def test_a_shelf_that_can_not_be_written_is_no_reason_to_fail(work: Job, tmp_path: Path) -> None:
    (tmp_path / "tokenised").write_text("a file where the folder belongs")
    assert len(made(work).train) > 0
