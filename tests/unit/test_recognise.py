"""What columns mean, by their names and what stands in them."""

from typing import Any

import pytest

from studio.core.errors import Refused
from studio.core.formats import check_mapping
from studio.core.recognise import guess

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
TALK = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]

CERTAIN: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    ({"messages": CHAT}, "openai_chat", {"messages": "messages"}),
    ({"messages": CHAT, "tools": []}, "openai_chat", {"messages": "messages", "tools": "tools"}),
    ({"id": 1, "conversations": TALK, "system": "x"}, "sharegpt", {"messages": "conversations", "system": "system"}),
    ({"talk": TALK}, "sharegpt", {"messages": "talk"}),
    ({"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:], "non_preferred_output": CHAT[1:]},
     "openai_preference", {"prompt": "input", "chosen": "preferred_output", "rejected": "non_preferred_output"}),
    ({"prompt": "x", "chosen": "y", "rejected": "z"}, "preference",
     {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}),
    ({"chosen": CHAT, "rejected": CHAT}, "preference", {"chosen": "chosen", "rejected": "rejected"}),
    ({"question": "x", "Chosen ": "y", "REJECTED": "z"}, "preference",
     {"prompt": "question", "chosen": "Chosen ", "rejected": "REJECTED"}),
    ({"instruction": "x", "input": "", "output": "y"}, "alpaca",
     {"prompt": "instruction", "completion": "output", "input": "input"}),
    ({"instruction": "x", "output": "y", "history": [], "system": "s"}, "alpaca",
     {"prompt": "instruction", "completion": "output", "system": "system", "history": "history"}),
    ({"instruction": "x", "context": "c", "response": "y", "category": "k"}, "alpaca",
     {"prompt": "instruction", "completion": "response", "input": "context"}),
    ({"prompt": "x", "completion": "y", "label": True}, "unpaired_preference",
     {"prompt": "prompt", "completion": "completion", "label": "label"}),
    ({"question": "x", "answer": "y", "label": "no"}, "unpaired_preference",
     {"prompt": "question", "completion": "answer", "label": "label"}),
    ({"prompt": CHAT[:1], "completion": CHAT[1:]}, "prompt_completion",
     {"prompt": "prompt", "completion": "completion"}),
    ({"prompt": "x", "completion": "y"}, "prompt_completion", {"prompt": "prompt", "completion": "completion"}),
    ({" Question": "x", "ANSWER": "y", "n": 3}, "prompt_completion", {"prompt": " Question", "completion": "ANSWER"}),
    ({"q": "x", "a": "y"}, "prompt_completion", {"prompt": "q", "completion": "a"}),
    ({"text": "x", "label": "ham"}, "prompt_completion", {"prompt": "text", "completion": "label"}),
    ({"spoken": "x", "order_json": "{}", "till": "7"}, "prompt_completion",
     {"prompt": "spoken", "completion": "order_json"}),
    ({"text": "Once upon a time"}, "text", {"text": "text"}),
    ({"id": 3, "content": "Once upon a time"}, "text", {"text": "content"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "shape", "mapping"), CERTAIN, ids=lambda value: value if isinstance(value, str) else ""
)
def test_usual_shapes_are_recognised_for_certain(row: dict[str, Any], shape: str, mapping: dict[str, str]) -> None:
    found = guess(list(row), [row])
    assert (found.format, found.mapping, found.certain) == (shape, mapping, True)
    assert found.unused == [column for column in row if column not in mapping.values()]
    assert check_mapping(mapping, list(row)) == mapping


def test_two_texts_of_unknown_names_are_a_guess_in_their_order() -> None:
    found = guess(["Spalte A", "Nr", "Spalte B"], [{"Spalte A": "Hallo du", "Nr": "12", "Spalte B": "Guten Tag"}])
    assert found.mapping == {"prompt": "Spalte A", "completion": "Spalte B"} and not found.certain
    assert found.format == "prompt_completion" and found.unused == ["Nr"]


def test_one_text_of_an_unknown_name_is_a_guess_at_plain_text() -> None:
    found = guess(["Spalte A", "Nr"], [{"Spalte A": "Hallo du", "Nr": "12"}])
    assert (found.format, found.mapping, found.certain) == ("text", {"text": "Spalte A"}, False)


def test_a_split_column_is_no_part_of_the_guess() -> None:
    found = guess(["prompt", "completion", "Split"], [{"prompt": "x", "completion": "y", "Split": "train"}])
    assert found.unused == []


def test_labels_that_are_no_verdicts_are_what_is_learnt() -> None:
    rows = [{"prompt": "x", "completion": "y", "label": "sports"}]
    assert guess(["prompt", "completion", "label"], rows).format == "prompt_completion"


@pytest.mark.parametrize(
    ("mapping", "words", "field"),
    [
        ({"prompt": "q"}, "No column is chosen as what is learnt", "completion"),
        ({"completion": "a"}, "No column is chosen as what is asked", "prompt"),
        ({"chosen": "q"}, "what is not preferred", "rejected"),
        ({"prompt": "q", "completion": "x"}, "There is no column called 'x'. The file has: q, a.", "completion"),
        ({"prompt": "q", "completion": "Q "}, "The column 'q' is chosen twice", "completion"),
        ({"prompt": "q", "answer": "a"}, "can not be used as 'answer'", ""),
        ({}, "what is asked", "prompt"),
    ],
)
def test_a_mapping_that_can_not_be_is_told(mapping: dict[str, str], words: str, field: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        check_mapping(mapping, ["q", "a"])
    assert caught.value.field == field


def test_columns_are_found_without_case_and_outer_spaces() -> None:
    assert check_mapping({"prompt": "FRAGE", "completion": " antwort"}, ["Frage ", "Antwort"]) == {
        "prompt": "Frage ", "completion": "Antwort",
    }  # fmt: skip
