"""Rows of every shape as examples."""

import json
from typing import Any

import pytest

from studio.core.conversations import opened, to_example, without_empty_turns
from studio.core.examples import Example, as_json, from_row, messages_json, to_row
from studio.core.formats import Unusable

USER, SAID = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
MESSAGES = {"messages": "m"}
PAIR = {"prompt": "q", "completion": "a"}


def chat(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """A row's messages."""
    return to_example({"m": list(messages)}, MESSAGES).messages


def test_a_pair_becomes_a_chat_with_numbers_as_text() -> None:
    assert to_example({"q": "Hi", "a": 7}, PAIR).messages == [USER, {"role": "assistant", "content": "7"}]
    with_system = to_example({"q": "Hi", "a": "Ho", "s": "Be kind"}, {**PAIR, "system": "s"}).messages
    assert with_system == [{"role": "system", "content": "Be kind"}, USER, SAID]


@pytest.mark.parametrize("answer", ["", " \n", None])
def test_a_pair_without_an_answer_is_unusable(answer: Any) -> None:
    with pytest.raises(Unusable, match="has no text in a"):
        to_example({"q": "Hi", "a": answer}, PAIR)


def test_alpaca_joins_instruction_and_input_and_keeps_the_history() -> None:
    mapping = {"prompt": "instruction", "input": "input", "completion": "output", "history": "history"}
    row = {"instruction": "Add", "input": "2 3", "output": "5", "history": [["Hi", "Ho"]]}
    assert [m["content"] for m in to_example(row, mapping).messages] == ["Hi", "Ho", "Add\n\n2 3", "5"]
    plain = {"instruction": "Add", "input": "", "output": "5", "history": "[]"}
    assert [m["content"] for m in to_example(plain, mapping).messages] == ["Add", "5"]
    with pytest.raises(Unusable, match="no pairs"):
        to_example({**row, "history": ["Hi"]}, mapping)


@pytest.mark.parametrize("said", ["human", "User", " prompter "])
def test_roles_of_all_families_are_understood(said: str) -> None:
    assert chat({"from": said, "value": "Hi"}, {"from": "gpt", "value": "Ho"}) == [USER, SAID]


def test_sharegpt_calls_and_observations_become_tool_turns() -> None:
    call = {"from": "function_call", "value": '{"name": "add", "arguments": {"x": 1}}'}
    messages = chat({"from": "human", "value": "Hi"}, call, {"from": "observation", "value": "3"},
                    {"from": "gpt", "value": "Ho"})  # fmt: skip
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"]
    function = {"name": "add", "arguments": {"x": 1}}
    assert messages[1]["tool_calls"] == [{"type": "function", "function": function}]


def test_openai_calls_have_their_arguments_opened_and_keep_their_ids() -> None:
    function = {"name": "add", "arguments": '{"x": 1}'}
    call = {"id": "c1", "type": "function", "function": function}
    messages = chat(USER, {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c1", "content": "3"}, SAID)  # fmt: skip
    assert messages[1] == {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"x": 1}}}]}  # fmt: skip
    assert messages[2]["tool_call_id"] == "c1"
    old = chat(USER, {"role": "assistant", "content": None, "function_call": function})
    assert old[1]["tool_calls"][0]["function"]["arguments"] == {"x": 1}


def test_tools_are_kept_as_text_list_or_bare_functions() -> None:
    function = {"name": "add", "parameters": {}}
    for tools in ([{"type": "function", "function": function}], json.dumps([function]), [function]):
        example = to_example({"m": [USER, SAID], "t": tools}, {**MESSAGES, "tools": "t"})
        assert example.tools == [{"type": "function", "function": function}]
    assert to_example({"m": [USER, SAID], "t": ""}, {**MESSAGES, "tools": "t"}).tools is None


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([USER], "no answer of an assistant"),
        ([USER, {**SAID, "weight": 0}], "only answers of weight 0"),
        ([USER, {**SAID, "weight": 0.5}], r"the weight 0\.5"),
        ([USER, {"role": "assistant", "content": " "}], "empty turn"),
        ([USER, {"role": "narrator", "content": "x"}], "unknown role 'narrator'"),
        ([USER, {"content": "x"}], "without a role"),
        ([USER, {"role": "assistant", "content": [{"type": "image_url"}]}], "not text"),
        ([USER, {"role": "assistant", "tool_calls": [{"x": 1}]}], "without a name"),
        ([], "no messages in m"),
        ("plain words", "no list of messages in m"),
    ],
)
def test_chats_that_can_not_be_learnt_are_told_apart(messages: Any, words: str) -> None:
    with pytest.raises(Unusable, match=words):
        to_example({"m": messages}, MESSAGES)


def test_weights_are_kept_and_parts_of_text_are_joined() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "H"}, "i"]}
    assert chat(parts, {**SAID, "weight": 0}, USER, {**SAID, "weight": 1.0}) == [
        USER, {**SAID, "weight": 0}, USER, {**SAID, "weight": 1},
    ]  # fmt: skip


PREFERENCE = {"prompt": "p", "chosen": "c", "rejected": "r"}
NO = {"role": "assistant", "content": "No"}


@pytest.mark.parametrize(
    ("row", "mapping"),
    [
        ({"p": "Hi", "c": "Ho", "r": "No"}, PREFERENCE),
        ({"p": [USER], "c": [SAID], "r": [NO]}, PREFERENCE),
        ({"p": "Hi", "c": [USER, SAID], "r": [USER, NO]}, PREFERENCE),
        ({"c": [USER, SAID], "r": [USER, NO]}, {"chosen": "c", "rejected": "r"}),
        ({"p": {"messages": [USER]}, "c": [SAID], "r": [NO]}, PREFERENCE),
        ({"p": json.dumps([USER]), "c": json.dumps([SAID]), "r": repr([NO])}, PREFERENCE),
    ],
)
def test_preferences_of_all_kinds_are_one(row: dict[str, Any], mapping: dict[str, str]) -> None:
    assert to_example(row, mapping) == Example([USER, SAID], rejected=[NO])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"p": "Hi", "c": "Ho", "r": "Ho"}, "prefers an answer over itself"),
        ({"p": "Hi", "c": "Ho", "r": ""}, "no text in r"),
        ({"p": {"x": 1}, "c": "Ho", "r": "No"}, "no messages in p"),
        ({"p": "Hi", "c": [USER], "r": [NO]}, "no answer of an assistant at the end of c"),
    ],
)
def test_preferences_that_say_nothing_are_unusable(row: dict[str, Any], words: str) -> None:
    with pytest.raises(Unusable, match=words):
        to_example(row, PREFERENCE)


def test_preferences_without_a_common_question_are_unusable() -> None:
    with pytest.raises(Unusable, match="no question that both answers share"):
        to_example({"c": [USER, SAID], "r": [{**USER, "content": "x"}, NO]}, {"chosen": "c", "rejected": "r"})


@pytest.mark.parametrize("good", [True, 1, "true", "1", "Yes", " GOOD ", 1.0, "thumbs up"])
@pytest.mark.parametrize("bad", [False, 0, "false", "0", "No", "bad", 0.0, "thumbs_down"])
def test_a_verdict_decides_whether_an_answer_is_taught(good: Any, bad: Any) -> None:
    mapping = {**PAIR, "label": "l"}
    assert to_example({"q": "Hi", "a": "Ho", "l": good}, mapping) == Example([USER, SAID], label=True)
    assert to_example({"q": "Hi", "a": "Ho", "l": bad}, mapping) == Example([USER, {**SAID, "weight": 0}], label=False)


@pytest.mark.parametrize(("label", "words"), [("maybe", "the verdict 'maybe' in l"), (None, "has no l"), (2, "'2'")])
def test_a_verdict_that_says_neither_is_unusable(label: Any, words: str) -> None:
    with pytest.raises(Unusable, match=words):
        to_example({"q": "Hi", "a": "Ho", "l": label}, {**PAIR, "label": "l"})


def test_text_is_kept_as_it_is_and_goes_round_through_a_row() -> None:
    example = to_example({"t": " Once upon a time "}, {"text": "t"})
    assert example == Example([], text=" Once upon a time ") and example.answers == [" Once upon a time "]
    judged = Example([USER, SAID], tools=[{"x": 1}], rejected=[NO], label=True)
    assert from_row(to_row(example)) == example and from_row(to_row(judged)) == judged
    assert from_row({"messages": json.dumps([USER, SAID])}) == Example([USER, SAID])


def test_only_lists_and_objects_in_text_are_opened() -> None:
    assert opened('[{"a": 1}]') == [{"a": 1}] and opened("[{'a': None}]") == [{"a": None}]
    for text in ("[INST] hi", "{{name}}", "plain", "[" * 100_000, "{'a': __import__('os')}"):
        assert opened(text) == text


def test_a_chat_with_empty_answers_is_mended_by_leaving_them_out() -> None:
    empty = {"role": "assistant", "content": " "}
    assert without_empty_turns([USER, SAID, USER, empty]) == [USER, SAID, USER]
    assert without_empty_turns([USER, SAID]) is None and without_empty_turns("x") is None


def test_messages_are_written_as_json_writes_them() -> None:
    plain = [{"role": "user", "content": 'a"b\\\n\t\x7f é 東 \u2028'}, {"role": "assistant", "content": ""}]
    for messages in (plain, [{**plain[0], "weight": 0}]):
        assert messages_json(messages) == as_json(messages) == json.dumps(messages, ensure_ascii=False)
    assert messages_json([{"role": "user", "content": "\ud800"}]) == '[{"role": "user", "content": "?"}]'
