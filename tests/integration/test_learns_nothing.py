"""What can only learn nothing is refused before it is queued, each with its own sentence: no such run ever succeeds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core.config import parse_config
from studio.core.errors import Fault, Faults
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.users import LOCAL_USER
from studio.core.supervision import supervision_faults
from studio.core.use_cases.steer import retry_run
from studio.core.use_cases.submit import Order, submit
from studio.core.use_cases.upload import import_file
from studio.train import run_train
from tests.integration.tiny import make_tiny_model

TURNS = [{"role": "user", "content": "Send 3 apples, please."}, {"role": "assistant", "content": "3 apples"}]
NUMBERS = [
    ("adapter.lora_alpha", float("nan"), ".nan", "Adapter scale can not be nan.", "more than 0 and at most 4,096"),
    ("training.learning_rate", float("inf"), ".inf", "Learning rate can not be inf.", "more than 0 and at most 0.1"),
    ("training.max_steps", 0, "0", "0 steps learn nothing.", "-1 to let the epochs decide"),
    ("training.num_train_epochs", 0, "0", "Epochs can not be 0.", "more than 0 and at most 1,000"),
    ("adapter.lora_dropout", 1.0, "1.0", "Dropout can not be 1.0.", "at least 0 and at most 0.9"),
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base model."""
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def dataset(services: Services, tmp_path: Path) -> DatasetVersion:
    """Eight examples whose answer stands behind a long question."""
    path = tmp_path / "orders.jsonl"
    path.write_text("".join(json.dumps({"messages": TURNS}) + "\n" for _ in range(8)))
    return import_file(services, LOCAL_USER, path, path.name, {"messages": "messages"})


Ask = Callable[..., list[Fault]]


@pytest.fixture
def refusal(services: Services, model: Path, dataset: DatasetVersion) -> Ask:
    """`refusal(training={...})`: with which faults such a run is refused; nothing stands in the line then."""

    def ask(**groups: dict[str, Any]) -> list[Fault]:
        with pytest.raises(Faults) as caught:
            submit(services, LOCAL_USER, Order("none", dataset.id, {**shape(model), **groups}))
        assert services.runs.of(LOCAL_USER) == [] and not list(services.settings.data_dir.glob("runs/*"))
        return list(caught.value.faults)

    return ask


def shape(model: Path) -> dict[str, Any]:
    """A config for the tiny model."""
    return {"base": {"repo": str(model)}, "training": {"max_length": 256}}


@pytest.mark.parametrize(("path", "value", "_", "words", "remedy"), NUMBERS)
def test_a_number_that_can_learn_nothing_is_never_queued(
    path: str, value: float, _: str, words: str, remedy: str, refusal: Ask
) -> None:
    group, name = path.split(".")
    (fault,) = refusal(**{group: {name: value}})
    assert (fault.field, fault.problem) == (path, words) and remedy in fault.remedy


def test_a_config_file_with_all_of_them_is_refused_at_every_line(services: Services, tmp_path: Path) -> None:
    lines = ["adapter:", "training:"]
    for path, _, text, _, _ in NUMBERS:
        group, name = path.split(".")
        lines.insert(lines.index(f"{group}:") + 1, f"  {name}: {text}")
    file = tmp_path / "run.yaml"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(Faults) as caught:
        run_train(services.settings, file, "", None)  # type: ignore[arg-type]  # nothing is printed
    said = [fault.problem for fault in caught.value.faults]
    for path, _, _, words, _ in NUMBERS:
        line = next(n for n, text in enumerate(lines, 1) if path.split(".")[1] in text)
        assert f"Line {line}: {words}" in said
    assert services.runs.of(LOCAL_USER) == []


def test_examples_whose_answers_are_all_cut_off_are_never_queued(refusal: Ask) -> None:
    (fault,) = refusal(training={"max_length": 16})
    assert fault.field == "training.max_length"
    assert fault.problem == "Longest example can not be 16 tokens: cut there, no example has an answer left."
    assert fault.remedy.startswith("Raise it: the longest example has ")


def test_examples_that_are_all_left_out_are_never_queued(refusal: Ask) -> None:
    (fault,) = refusal(training={"max_length": 32, "overlong": "drop"})
    assert fault.problem == "Longest example can not be 32 tokens: all that teach are longer, and left out."
    assert "cut them" in fault.remedy


def test_answers_of_weight_0_alone_are_never_queued(
    services: Services, model: Path, dataset: DatasetVersion, refusal: Ask
) -> None:
    unlearn(services, dataset)
    (fault,) = refusal()
    assert fault.field == "dataset"
    assert fault.problem == f"{dataset.name} teaches nothing: 0 of its 8 examples have an answer to learn " \
        "(empty, or of weight 0)."  # fmt: skip
    file = services.settings.data_dir / "run.yaml"
    file.write_text(f"base:\n  repo: {model}\ntraining:\n  max_length: 256\n")
    with pytest.raises(Faults, match="teaches nothing"):
        run_train(services.settings, file, dataset.id, None)  # type: ignore[arg-type]  # nothing is printed


def test_a_retry_that_would_cut_every_answer_is_never_queued(
    services: Services, model: Path, dataset: DatasetVersion
) -> None:
    run = submit(services, LOCAL_USER, Order("first", dataset.id, shape(model)))
    assert run.forecast and run.forecast["tokens"] > 0  # counted at submit, so a forecast stands beside the outcome
    with pytest.raises(Faults, match="no example has an answer left"):
        retry_run(services, LOCAL_USER, run.id, None, {"training": {"max_length": 16}})


def test_what_was_counted_only_in_part_is_left_to_the_trainer() -> None:
    counts = {"examples": 8, "counted": 8, "refused": 0, "train": 8, "train_learnt": 0, "cut": 0, "longest": 9}
    assert supervision_faults(parse_config({}), "orders", counts)
    assert not supervision_faults(parse_config({}), "orders", {**counts, "examples": 16})
    (fault,) = supervision_faults(parse_config({}), "orders", {**counts, "train": 0})
    assert "held out" in fault.problem


def unlearn(services: Services, dataset: DatasetVersion) -> None:
    """All answers at weight 0, as no import of today leaves them."""
    path = services.artifacts.data_parquet(dataset.id)
    table = pq.read_table(path)
    turns = json.dumps([TURNS[0], {**TURNS[1], "weight": 0}])
    place = table.schema.get_field_index("messages")
    pq.write_table(table.set_column(place, "messages", pa.array([turns] * len(table))), path)
