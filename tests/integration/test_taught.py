"""The preview of New run shows what this very run is taught: the trainer's own ids and labels, by the form's values."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.config import parse_config
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.users import LOCAL_USER
from studio.core.tokenizer import load_chat
from studio.core.use_cases.upload import import_file
from studio.ui import run_form
from studio.ui.fields import values_of
from studio.ui.taught_card import OPEN, TaughtDesk
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import chats
from worker.trainer.prepare import prepare

GROUPS: list[dict[str, Any]] = [
    {},
    {"method": {"learn": "last_answer"}},
    {"method": {"learn": "everything"}, "training": {"eval_share": 0.3, "seed": 7}},
    {"base": {"chat_template": "plain"}, "training": {"max_length": 64}},
    {"training": {"max_length": 70, "overlong": "drop"}},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def dataset(services: Services, tmp_path: Path) -> DatasetVersion:
    """Ragged chats, some with two answers."""
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats(8)))
    return import_file(services, LOCAL_USER, path, path.name, {"messages": "messages"})


def see(desk: TaughtDesk, model: Path, dataset: str | None, number: int = 1, **groups: dict[str, Any]) -> list[Any]:
    """What the drawer shows for a form with these values."""
    settings = values_of(run_form.KNOBS, groups)
    request: Any = SimpleNamespace(username=None, headers={}, session={})
    return desk.see(request, OPEN, "Tokens", number, str(model), dataset, *settings)


@pytest.mark.parametrize("groups", GROUPS, ids=lambda groups: json.dumps(groups) or "defaults")
def test_what_is_shown_is_what_the_trainer_takes(
    groups: dict[str, Any], services: Services, model: Path, dataset: DatasetVersion
) -> None:
    config = parse_config({**groups, "base": {"repo": str(model), **groups.get("base", {})}})
    chat = load_chat(model, config.base.chat_template)
    data = prepare(services.artifacts.data_parquet(dataset.id), chat, config.training, config.method)
    desk, shown, held = TaughtDesk(services), [], []
    for index in range(dataset.examples):
        seen = desk.sight.taught(dataset, config, index)
        dropped = seen["cut"] and config.training.overlong == "drop"
        if seen["learnt"] and not dropped:
            (held if seen["held_out"] else shown).append((seen["ids"], seen["labels"]))
    taken = [(row["input_ids"], row["labels"]) for row in data.train.data]
    assert shown == taken and len(held) == len(data.held_out)


def test_the_drawer_follows_the_form(services: Services, model: Path, dataset: DatasetVersion) -> None:
    desk = TaughtDesk(services)
    plain, number = see(desk, model, dataset.id, base={"chat_template": "plain"}, training={"eval_share": 0})
    assert number == 1 and "Example 1 of 8, plain lines, at most 1,024 tokens" in plain and "im_start" not in plain
    own, number = see(desk, model, dataset.id, 9)
    assert number == 1 and "im_start" in own and "not learnt" in own  # the ninth is the first again; a turn of weight 0
    short, _ = see(desk, model, dataset.id, training={"max_length": 16, "overlong": "drop", "eval_share": 0})
    assert "Left out" in short and "cut here" in short
    assert any("Held out" in see(desk, model, dataset.id, n, training={"eval_share": 0.5})[0] for n in range(1, 9))


def test_nothing_is_asked_for_a_form_that_is_not_whole(
    services: Services, model: Path, dataset: DatasetVersion
) -> None:
    desk = TaughtDesk(services)
    assert "Choose a base model and a dataset" in see(desk, model, None)[0]
    assert "to be mended first" in see(desk, model, dataset.id, training={"max_length": 0})[0]
