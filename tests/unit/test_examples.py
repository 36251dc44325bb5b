"""The starter dataset in assets/examples keeps its promises: columns, strict JSON, a clean split, a licence."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "examples"
COLUMNS = ["system", "spoken", "order_json", "split"]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """All rows of the file, in its order."""
    lines = (FOLDER / "orders.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _texts(rows: list[dict[str, str]], split: str) -> list[str]:
    """The spoken texts of one split, in lower case with single spaces."""
    return [" ".join(row["spoken"].lower().split()) for row in rows if row["split"] == split]


def test_each_row_has_the_four_columns_and_no_other(rows: list[dict[str, str]]) -> None:
    """The mapping that README gives holds for every row."""
    for row in rows:
        assert list(row) == COLUMNS
        assert all(isinstance(value, str) and value == value.strip() and value for value in row.values())


def test_the_instruction_is_the_same_in_every_row(rows: list[dict[str, str]]) -> None:
    """One instruction: the model learns the task, not the wording of the system text."""
    assert len({row["system"] for row in rows}) == 1


def test_the_split_has_360_rows_to_learn_and_60_held_out(rows: list[dict[str, str]]) -> None:
    """The sizes that README and the demo run speak of."""
    assert Counter(row["split"] for row in rows) == {"train": 360, "eval": 60}


def test_each_answer_is_one_line_of_json_in_the_one_allowed_spelling(rows: list[dict[str, str]]) -> None:
    """Exact match compares text, so there is one spelling of each answer."""
    for row in rows:
        order = json.loads(row["order_json"])
        assert row["order_json"] == json.dumps(order, ensure_ascii=False)
        assert list(order) == ["items", "for", "pay"]


def test_each_answer_has_items_a_name_or_null_and_a_known_way_to_pay(rows: list[dict[str, str]]) -> None:
    """Keys, their order and the types of their values are fixed."""
    for row in rows:
        order: dict[str, Any] = json.loads(row["order_json"])
        assert order["items"]
        for item in order["items"]:
            assert list(item) == ["name", "count"]
            assert item["name"] == item["name"].lower()
            assert type(item["count"]) is int and item["count"] >= 1
        assert order["pay"] in ("card", "cash", None)
        assert order["for"] is None or order["for"].istitle()


def test_no_item_stands_twice_in_one_answer(rows: list[dict[str, str]]) -> None:
    """The same thing asked for twice is added up."""
    for row in rows:
        names = [item["name"] for item in json.loads(row["order_json"])["items"]]
        assert len(names) == len(set(names))


def test_the_name_of_an_answer_is_spoken_in_the_order(rows: list[dict[str, str]]) -> None:
    """Nothing has to be guessed."""
    for row in rows:
        name = json.loads(row["order_json"])["for"]
        assert name is None or name.lower() in row["spoken"].lower()


def test_no_spoken_text_occurs_twice(rows: list[dict[str, str]]) -> None:
    """Neither within a split nor across the two, case and spaces aside."""
    counts = Counter(_texts(rows, "train") + _texts(rows, "eval"))
    assert max(counts.values()) == 1


def test_no_held_out_text_is_near_to_a_text_to_learn(rows: list[dict[str, str]]) -> None:
    """A text may share its frame with one to learn, but at least a quarter of the words of the two differ."""
    train = [set(re.findall(r"[\w']+", text)) for text in _texts(rows, "train")]
    for text in _texts(rows, "eval"):
        words = set(re.findall(r"[\w']+", text))
        assert max(len(words & other) / len(words | other) for other in train) <= 0.75, text


def test_no_held_out_answer_is_also_an_answer_to_learn(rows: list[dict[str, str]]) -> None:
    """What is asked for in the held-out part was never ordered just so in the training part."""
    answers = {row["order_json"] for row in rows if row["split"] == "train"}
    assert not [row for row in rows if row["split"] == "eval" and row["order_json"] in answers]


def test_some_held_out_names_and_items_are_unseen_in_training(rows: list[dict[str, str]]) -> None:
    """They must be copied from the order, not recalled."""
    seen: dict[str, set[str]] = {"train": set(), "eval": set()}
    for row in rows:
        order: dict[str, Any] = json.loads(row["order_json"])
        seen[row["split"]] |= {f"item {item['name']}" for item in order["items"]} | {f"name {order['for']}"}
    unseen = seen["eval"] - seen["train"]
    assert len([word for word in unseen if word.startswith("name ")]) >= 10
    assert len([word for word in unseen if word.startswith("item ")]) >= 3


def test_source_and_licence_stand_beside_the_file() -> None:
    """Who wrote it and how it may be used."""
    words = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC0" in words
    assert "Tunesmith developers" in words
