"""Recognition of files and columns: bytes and values in, decisions out."""

from typing import Any

import pytest

from studio.core.errors import Refused
from studio.core.formats import (
    Unusable,
    binary_kind,
    check_mapping,
    clean,
    container,
    delimiter,
    guess,
    looks_utf16,
    shown_name,
    split_of,
    to_messages,
)  # fmt: skip

MAPPED = {"prompt": "q", "completion": "a"}


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "an image (PNG)"),
        (b"\xff\xd8\xff\xe0", "an image (JPEG)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PAR1abc", "a Parquet file"),
        (b"PK\x03\x04....xl/workbook.xml", "an Excel workbook"),
        (b"PK\x03\x04....", "a zip archive"),
        (bytes(range(32)) * 8, "a binary file"),
        (b"a,b\n1,2\n", ""),
        (b"a,b\n1,\x002\n" * 1, ""),
        ("q,a\nHallo,Ja\n".encode("utf-16"), ""),
        ("q,a\nHallo,Ja\n".encode("utf-16-le"), ""),
    ],
)
def test_a_file_that_is_no_text_is_known_by_its_first_bytes(head: bytes, kind: str) -> None:
    assert binary_kind(head) == kind


def test_utf16_without_a_mark_is_seen() -> None:
    assert looks_utf16("question,answer".encode("utf-16-be")) == "utf-16-be"
    assert looks_utf16(b"question,answer") == ""


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        ('{"a": 1}\n{"a": 2}\n', "x.jsonl", "jsonl"),
        ('{"a": 1}\n{"a": 2}\n', "x.json", "jsonl"),
        ('{"a": 1}\n{"a": 2}\n', "x.csv", "jsonl"),
        ('{"a": 1}', "x.txt", "jsonl"),
        ('{broken\n{"a": 2}\n', "x.jsonl", "jsonl"),
        ('[{"a": 1}]', "x.json", "json"),
        ('[\n {"a": 1}\n]', "x.jsonl", "json"),
        ('[{"a": 1},\n {"a": 2}]', "x.jsonl", "json"),
        ('{\n "data": [\n', "x.json", "json"),
        ('{"data": [{"a": 1}]}', "x.json", "json"),
        ("a,b\n1,2", "x.json", "csv"),
        ("[note],b\n1,2", "x.csv", "csv"),
    ],
)
def test_the_container_is_known_by_how_the_text_begins(head: str, name: str, kind: str) -> None:
    assert container(head, name) == kind


@pytest.mark.parametrize(
    ("head", "mark"),
    [
        ("a;b\n1,5;2\n3,5;4\n", ";"),
        ("a\tb\nx, y\tz\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a,b\n1,2\n", ","),
        ("a\nb\n", ","),
    ],
)
def test_the_delimiter_is_the_one_that_parts_all_rows_alike(head: str, mark: str) -> None:
    assert delimiter(head) == mark


@pytest.mark.parametrize(
    ("row", "mapping", "certain", "unused"),
    [
        ({"prompt": "x", "completion": "y"}, ("prompt", "completion", ""), True, []),
        ({"question": "x", "answer": "42", "id": "1"}, ("question", "answer", ""), True, ["id"]),
        ({"till_no": "3", "spoken": "two", "order_json": "{}"}, ("spoken", "order_json", ""), True, ["till_no"]),
        ({"system_prompt": "s", "user": "x", "assistant": "y"}, ("user", "assistant", "system_prompt"), True, []),
        ({"foo": "some words", "bar": "others"}, ("foo", "bar", ""), False, []),
        ({"instruction": "x", "input": "y", "output": "z"}, ("instruction", "output", ""), False, ["input"]),
        ({"text": "x", "label": 3, "split": "train"}, ("text", "label", ""), True, []),
        ({"only": "x"}, ("only", "", ""), False, []),
    ],
)
def test_columns_are_mapped_by_their_usual_names(
    row: dict[str, Any], mapping: tuple[str, str, str], certain: bool, unused: list[str]
) -> None:
    found = guess(list(row), [row])
    assert found.mapping == dict(zip(("prompt", "completion", "system"), mapping, strict=True))
    assert (found.certain, found.unused) == (certain, unused)


def test_a_column_of_messages_is_found_under_any_name() -> None:
    found = guess(["id", "talk"], [{"id": 1, "talk": [{"from": "human", "value": "x"}]}])
    assert found.mapping == {"messages": "talk"} and found.certain and found.unused == ["id"]


def test_a_missing_column_is_told_with_the_names_there_are() -> None:
    with pytest.raises(Refused, match=r"There is no column called 'x'\. The file has: q, a\.") as caught:
        check_mapping({"prompt": "q", "completion": "x"}, ["q", "a"])
    assert caught.value.field == "completion"


@pytest.mark.parametrize(
    "mapping", [{"prompt": "q"}, {"completion": "a"}, {}, {"prompt": "q", "completion": "q"}, {"other": "q"}]
)
def test_a_mapping_without_asked_and_learnt_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(Refused):
        check_mapping(mapping, ["q", "a"])


def test_a_row_becomes_messages_and_an_empty_system_text_is_left_out() -> None:
    mapping = {**MAPPED, "system": "s"}
    assert to_messages({"q": "Hi", "a": 7, "s": " "}, mapping) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "7"},
    ]
    assert to_messages({"q": "Hi", "a": True, "s": "Be"}, mapping)[0] == {"role": "system", "content": "Be"}


@pytest.mark.parametrize("answer", [None, "", "  \n", ["x"], {"x": 1}])
def test_a_row_without_a_text_answer_is_not_usable(answer: Any) -> None:
    with pytest.raises(Unusable, match="in a"):
        to_messages({"q": "Hi", "a": answer}, MAPPED)


def chat(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """A row with a messages column, read."""
    return to_messages({"m": list(messages)}, {"messages": "m"})


def test_roles_of_other_tools_are_known() -> None:
    read = chat({"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}, {"role": "bot", "content": "Hm"})
    assert [(m["role"], m["content"]) for m in read] == [("user", "Hi"), ("assistant", "Ho"), ("assistant", "Hm")]


def test_weight_tool_calls_and_text_parts_are_kept() -> None:
    calls = [{"function": {"name": "f", "arguments": {}}}]
    read = chat(
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": calls, "weight": 0},
        {"role": "tool", "content": 3, "tool_call_id": "t"},
        {"role": "assistant", "content": "x", "weight": 1},
    )
    assert read[0]["content"] == "ab" and read[1] == {
        "role": "assistant", "content": "", "tool_calls": calls, "weight": 0,
    }  # fmt: skip
    assert read[2] == {"role": "tool", "content": "3", "tool_call_id": "t"} and read[3]["weight"] == 1


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([{"role": "user", "content": "x"}], "no answer of an assistant"),
        ([{"role": "narrator", "content": "x"}], "unknown role 'narrator'"),
        ([{"content": "x"}], "without a role"),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": ""}], "empty turn"),
        ([{"role": "assistant", "content": "x", "weight": 0.5}], "only 0 and 1"),
        ([{"role": "assistant", "content": "x", "weight": 0}], "weight 0"),
        ([{"role": "assistant", "content": [{"type": "image_url"}]}], "not text"),
        (["x"], "no list of messages"),
        ([], "no messages"),
    ],
)
def test_a_chat_that_can_not_be_learnt_says_why(messages: Any, words: str) -> None:
    with pytest.raises(Unusable, match=words):
        to_messages({"m": messages}, {"messages": "m"})


def test_control_characters_and_broken_halves_are_cleaned_and_counted() -> None:
    assert clean("a\x00b\x1b[0m\tc\n") == ("ab[0m\tc\n", 2)
    assert clean("x\ud800") == ("x\ufffd", 1)


def test_splits_are_known_by_their_usual_names() -> None:
    assert [split_of(v) for v in ("Train", "TEST", "held-out", "validation", "dev", "other", None)] == [
        "train", "eval", "eval", "eval", "eval", None, None,
    ]  # fmt: skip


def test_a_files_name_is_shown_on_one_line_and_not_too_long() -> None:
    assert shown_name("a\nb\x1b.csv") == "a b .csv" and len(shown_name("x" * 300)) == 80
