"""The playground answers with every kind of run: in fewer bits, DoRA, biases, a whole model; beside the base."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.engine.models import LoadedModel
from worker.engine.row import Row, Token
from worker.engine.scheduler import decode
from worker.trainer.phases import train

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT 0.21

LEARNT = {"num_train_epochs": 30, "per_device_train_batch_size": 8, "learning_rate": 0.01, "eval_share": 0}
KINDS: dict[str, dict[str, Any]] = {
    "nf4": {"base": {"quantization": "nf4"}},
    "int8": {"base": {"quantization": "int8"}},
    "dora": {"adapter": {"use_dora": True}},
    "full": {"adapter": {"tuner": "full"}},
}


class Listener:
    """Keeps the tokens of a row."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def token(self, token: Token) -> bool:
        self.tokens.append(token.id)
        return False

    def end(self, reason: str) -> None:
        self.reason = reason

    def fail(self, error: Exception) -> None:
        raise error


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_each_kind_answers_beside_its_base_model(kind: str, tmp_path: Path) -> None:
    tiny = make_tiny_model(tmp_path / "model")
    data = write_data(tmp_path / "data.parquet", chats(8)[1:2] * 8)
    training = {**LEARNT, **({"learning_rate": 0.003} if kind == "full" else {})}
    train(job(tiny, data, tmp_path / "run", **KINDS[kind], training=training), Recorder())
    loaded = LoadedModel(tiny, torch.float32)
    loaded.use_bits((KINDS[kind].get("base", {}).get("quantization", "none"), True))
    before = answers(loaded, ["base"])
    loaded.attach("run", tmp_path / "run/adapter")
    base, tuned = answers(loaded, ["base", "run"])
    assert [base] == before and tuned != base and len(tuned) == 12


def answers(loaded: LoadedModel, names: list[str]) -> list[list[int]]:
    """What each model says, greedily, in one batch."""
    rows = [Row([5, 6, 7, 8, 9], loaded.key(name), Listener(), room=12) for name in names]
    decode(loaded, rows)
    return [row.listener.tokens for row in rows]  # type: ignore[attr-defined]
