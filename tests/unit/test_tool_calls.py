"""Calls of tools in an answer's text, however it is cut into pieces, and in what a client sends back."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from studio.api.answers import Telling
from studio.api.asks import read_ask
from studio.api.relay import Event
from studio.api.tool_calls import with_calls
from studio.core.errors import Refused
from studio.core.other_engine import OtherEngine

CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln <1>", "days": 2}}\n</tool_call>'
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


async def engine(pieces: Sequence[str], reason: str) -> AsyncGenerator[Event, None]:
    """Its events for an answer of one choice."""
    yield {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    yield {}
    for piece in pieces:
        yield {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": USAGE}


def answer(pieces: Sequence[str], reason: str = "stop") -> dict[str, Any]:
    """The choice as a client gets it whole."""
    told = asyncio.run(Telling("m", 1).whole(with_calls(engine(pieces, reason))))
    choice: dict[str, Any] = told["choices"][0]
    return choice


def called(choice: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and arguments."""
    calls = choice["message"].get("tool_calls", [])
    assert all(call["id"].startswith("call_") and call["type"] == "function" for call in calls)
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]


@pytest.mark.parametrize("size", [1, 2, 7, 11, 1000])
def test_calls_are_found_however_the_text_is_cut(size: int) -> None:
    text = f"I look it up.\n{CALL}\n{CALL.replace('weather', 'news')}"
    choice = answer([text[at : at + size] for at in range(0, len(text), size)])
    wanted = {"city": "Köln <1>", "days": 2}
    assert called(choice) == [("weather", wanted), ("news", wanted)]
    assert choice["message"]["content"].strip() == "I look it up."
    assert choice["finish_reason"] == "tool_calls"
    assert len({call["id"] for call in choice["message"]["tool_calls"]}) == 2


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_answer_that_is_nothing_but_calls_has_no_content(size: int) -> None:
    text = f"\n{CALL}\n{CALL} \n"
    assert answer([text[at : at + size] for at in range(0, len(text), size)])["message"]["content"] is None


def test_blanks_of_plain_text_stay_and_each_event_has_one_choice() -> None:
    async def told() -> list[Any]:
        events = with_calls(engine(["  Hi \n", "\nyou ", f"{CALL}bye \n"], "stop"))
        return [json.loads(one[6:]) async for one in Telling("m", 1).pieces(events, True) if one.startswith("data: {")]

    found = asyncio.run(told())
    deltas = [one["choices"][0]["delta"] for one in found if one["choices"]]
    assert all(len(one["choices"]) <= 1 for one in found) and found[-1]["usage"] == USAGE
    assert "".join(delta.get("content", "") for delta in deltas) == "  Hi \n\nyoubye \n"
    assert sum("tool_calls" in delta for delta in deltas) == 1
    assert [one["choices"][0]["finish_reason"] for one in found if one["choices"]][-1] == "tool_calls"


@pytest.mark.parametrize(
    "text",
    [
        "Nothing is called, 1 < 2 <tool",
        "<tool_call>not JSON</tool_call> and more",
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "cut", "arguments": {',
        "<tool_call></tool_call>",
        '<tool_call>{"name": "f", "arguments": "{broken"}</tool_call> ',
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_only_looks_like_a_call_stays_text(text: str, size: int) -> None:
    choice = answer([text[at : at + size] for at in range(0, len(text), size)])
    assert choice["message"] == {"role": "assistant", "content": text}
    assert choice["finish_reason"] == "stop"


def test_a_call_without_arguments_has_none() -> None:
    texts = ('{"name": "now"}', '{"name": "now", "arguments": null}', '{"name": "now", "parameters": "{}"}')
    assert [called(answer([f"<tool_call>{text}</tool_call>"])) for text in texts] == [[("now", {})]] * 3


def test_an_answer_cut_after_a_call_says_so() -> None:
    assert answer([CALL, " and"], "length")["finish_reason"] == "length"


def test_another_servers_calls_are_put_together_from_their_bits() -> None:
    async def told() -> AsyncGenerator[Event, None]:
        bits: list[dict[str, Any]] = [
            {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"city": '}},
            {"index": 0, "function": {"arguments": '"Köln"}'}},
        ]
        for bit in bits:
            yield {"choices": [{"index": 0, "delta": {"tool_calls": [bit]}, "finish_reason": None}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}

    choice = asyncio.run(Telling("m", 1).whole(with_calls(told())))["choices"][0]
    assert called(choice) == [("weather", {"city": "Köln"})]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")


def test_a_call_that_a_client_sends_back_is_read_as_the_examples_are() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}
    asked = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "rain"}]
    told = read_ask(json.dumps({"model": "m", "messages": asked}).encode()).for_engine("base")["messages"]
    assert told[0]["tool_calls"][0]["function"]["arguments"] == {"city": "Köln"}
    assert told[0]["content"] == "" and told[1]["role"] == "tool"
    sent = OtherEngine("http://127.0.0.1:9").told({"model": "m", "messages": told})["messages"]
    assert json.loads(sent[0]["tool_calls"][0]["function"]["arguments"]) == {"city": "Köln"}
    with pytest.raises(Refused, match="a tool call has a function with a name"):
        read_ask(json.dumps({"model": "m", "messages": [{**asked[0], "tool_calls": [{"id": "x"}]}]}).encode())
    with pytest.raises(Refused, match="tool_calls of a message are a list"):
        read_ask(json.dumps({"model": "m", "messages": [{**asked[0], "tool_calls": call}]}).encode())
