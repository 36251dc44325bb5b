"""Examples that are too long: cut or left out, as the person says; panel and trainer count alike."""

from pathlib import Path

import pytest

from studio.core.reader import ask
from studio.core.settings import Settings
from studio.core.tokenizer import load_chat
from tests.integration.tiny import make_tokenizer
from tests.integration.trainer_jobs import chats, job, write_data
from worker.trainer.job import TrainingFailed
from worker.trainer.prepare import prepare


@pytest.mark.parametrize(("overlong", "train", "cut", "too_long"), [("cut", 10, 2, 0), ("drop", 8, 0, 2)])
def test_long_examples_are_cut_or_left_out(
    settings: Settings, tmp_path: Path, overlong: str, train: int, cut: int, too_long: int
) -> None:
    make_tokenizer().save_pretrained(tmp_path / "model")
    long = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "A long answer. " * 60}]
    data = write_data(tmp_path / "data.parquet", [*chats(8), long, [*long, *long]])
    training = {"max_length": 400, "overlong": overlong, "eval_share": 0}
    work = job(tmp_path / "model", data, tmp_path / "run", training=training)
    made = prepare(data, load_chat(tmp_path / "model"), work.config.training)
    assert (len(made.train), made.cut, made.too_long) == (train, cut, too_long)
    request = {"do": "count", "data": str(data), "model": str(tmp_path / "model"), **training, "seed": 42}
    counts = ask(request, settings)
    assert (counts["train"], counts["train_tokens"], counts["cut"]) == (train, made.train.tokens, 2)
    assert [row for row, _ in counts["rows"]["too_long"]] == [9, 10]


def test_where_every_example_is_too_long_nothing_is_trained(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path / "model")
    data = write_data(tmp_path / "data.parquet", chats(3))
    work = job(tmp_path / "model", data, tmp_path / "run", training={"max_length": 8, "overlong": "drop"})
    with pytest.raises(TrainingFailed, match="Every example is too long") as caught:
        prepare(data, load_chat(tmp_path / "model"), work.config.training)
    assert caught.value.remedy
