"""One row of a file as an example: chats, pairs, preferences, judged answers, plain text. Pure."""

import ast
import json
from collections.abc import Mapping
from typing import Any

from studio.core.examples import Example, Messages
from studio.core.formats import Mapped, Unusable, as_text, is_chat, verdict

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "instruction"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "ai", "chatbot"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}  # fmt: skip
_PLAIN = ("user", "assistant", "system")
_CARRIED = ("name", "tool_call_id", "reasoning_content", "thinking")
_DEEPEST = 64
_LONGEST_LITERAL = 1_000_000
BETWEEN = "\n\n"  # instruction and input of Alpaca become one question


def to_example(values: Mapping[str, Any], mapping: Mapped) -> Example:
    """One row. Raises `Unusable` with the reason where it can not be an example."""
    if "text" in mapping:
        return Example([], text=_needed(values, mapping["text"]))
    if "chosen" in mapping:
        return _preference(values, mapping)
    tools = _tools(_cell(values, mapping, "tools"))
    if "messages" in mapping:
        return Example(_with_system(_chat(_cell(values, mapping, "messages"), mapping["messages"]), values, mapping),
                       tools=tools)  # fmt: skip
    asked, said = _asked(values, mapping), _said(values, mapping["completion"])
    label = _label(values, mapping["label"]) if "label" in mapping else None
    if label is False:
        said = [{**message, "weight": 0} for message in said]  # shown, and never taught
    return Example(_with_system([*asked, *said], values, mapping), tools=tools, label=label)


def _cell(values: Mapping[str, Any], mapping: Mapped, role: str) -> Any:
    """The value of a role's column, JSON and Python text of lists and objects opened."""
    return opened(values.get(mapping[role])) if role in mapping else None


def opened(value: Any) -> Any:
    """A list or an object that stands as text in a cell (JSON, or as Python prints it); all else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value, strict=False)
    except (ValueError, RecursionError):
        pass
    if len(value) > _LONGEST_LITERAL or value.count("[") + value.count("{") > 50 * _DEEPEST:
        return value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return value


def _needed(values: Mapping[str, Any], column: str) -> str:
    text = as_text(values.get(column), column)
    if not text.strip():
        raise Unusable(f"empty:{column}", f"has no text in {column}")
    return text


def _asked(values: Mapping[str, Any], mapping: Mapped) -> Messages:
    """What stands before the answer: earlier turns, the question with its input; a chat where the cell holds one."""
    if "prompt" not in mapping:
        return []
    asked = _cell(values, mapping, "prompt")
    if is_chat(asked):
        return [_message(message) for message in asked]
    text = _needed(values, mapping["prompt"])
    more = as_text(values.get(mapping["input"]), mapping["input"]) if "input" in mapping else ""
    question = text + BETWEEN + more if more.strip() else text
    return [*_history(_cell(values, mapping, "history")), {"role": "user", "content": question}]


def _history(value: Any) -> Messages:
    """Earlier turns as Alpaca has them: pairs of question and answer."""
    if not value:
        return []
    if is_chat(value):
        return [_message(message) for message in value]
    if not isinstance(value, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        raise Unusable("history", "has earlier turns that are no pairs of question and answer")
    turns: Messages = []
    for asked, said in value:
        turns.append({"role": "user", "content": as_text(asked, "history")})
        turns.append({"role": "assistant", "content": as_text(said, "history")})
    return turns


def _said(values: Mapping[str, Any], column: str) -> Messages:
    """The answer: one turn of the assistant, or the turns that the cell holds."""
    value = opened(values.get(column))
    if not is_chat(value):
        return [{"role": "assistant", "content": _needed(values, column)}]
    said = [_message(message) for message in value]
    if said[-1]["role"] != "assistant":
        raise Unusable("no answer", f"has no answer of an assistant at the end of {column}")
    return said


def _label(values: Mapping[str, Any], column: str) -> bool:
    found = verdict(values.get(column))
    if found is None:
        seen = as_text(values.get(column), column)[:40]
        words = f"has the verdict {seen!r} in {column}; it must be yes or no" if seen.strip() else f"has no {column}"
        raise Unusable("label", words)
    return found


def _preference(values: Mapping[str, Any], mapping: Mapped) -> Example:
    asked, tools = _cell(values, mapping, "prompt"), _tools(_cell(values, mapping, "tools"))
    if isinstance(asked, dict):  # OpenAI's `input` holds messages and tools
        tools = _tools(asked.get("tools")) or tools
        before = [_message(m) for m in asked["messages"]] if is_chat(asked.get("messages")) else []
        if not before:
            raise Unusable(f"shape:{mapping['prompt']}", f"holds no messages in {mapping['prompt']}")
    else:
        before = _asked(values, mapping)
    chosen, rejected = _said(values, mapping["chosen"]), _said(values, mapping["rejected"])
    if chosen[0]["role"] != "assistant" or not before:
        before, chosen, rejected = _apart(chosen, rejected)
    if chosen == rejected:
        raise Unusable("same answers", "prefers an answer over itself")
    return Example(_with_system([*before, *chosen], values, mapping), tools=tools, rejected=rejected)


def _apart(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    """Two whole chats as their common beginning and the two ends."""
    same = 0
    while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
        same += 1
    if not any(message["role"] == "user" for message in chosen[:same]):
        raise Unusable("no question", "has no question that both answers share")
    return chosen[:same], chosen[same:], rejected[same:]


def _with_system(messages: Messages, values: Mapping[str, Any], mapping: Mapped) -> Messages:
    column = mapping.get("system", "")
    text = as_text(values.get(column), column) if column else ""
    if not text.strip() or messages[0]["role"] == "system":
        return messages
    return [{"role": "system", "content": text}, *messages]


def _chat(value: Any, column: str) -> Messages:
    if not value:
        raise Unusable(f"empty:{column}", f"has no messages in {column}")
    if isinstance(value, dict) and is_chat(value.get("messages")):
        value = value["messages"]
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise Unusable(f"shape:{column}", f"holds no list of messages in {column}")
    messages = [_message(message) for message in value]
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        raise Unusable("no answer", "has no answer of an assistant")
    if all(message.get("weight") == 0 for message in answers):
        raise Unusable("weight", "has only answers of weight 0")
    return messages


def _message(raw: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise Unusable("shape:message", "has a message that is no object")
    said, content = raw.get("role", raw.get("from", "")), raw.get("content", raw.get("value"))
    if len(raw) == 2 and said in _PLAIN and isinstance(content, str) and (content.strip() or said != "assistant"):
        return {"role": said, "content": content}  # by far the most
    said = str(said)
    role = _ROLES.get(said.strip().lower())
    if role is None:
        raise Unusable("role", f"has the unknown role {said[:40]!r}" if said else "has a message without a role")
    if role == "call":
        return {"role": "assistant", "content": "", "tool_calls": _calls(opened(content))}
    message: dict[str, Any] = {"role": role, "content": _content(content)}
    message.update({key: raw[key] for key in _CARRIED if isinstance(raw.get(key), str)})
    calls = raw.get("tool_calls") or raw.get("function_call")
    if calls:
        message["tool_calls"] = _calls(calls)
    elif role == "assistant" and not message["content"].strip():
        raise Unusable("empty turn", "has an empty turn of the assistant")
    return _weighed(message, raw.get("weight"))


def _weighed(message: dict[str, Any], weight: Any) -> dict[str, Any]:
    """The message with its weight, where it has one: 0 is shown and never taught."""
    if weight is None:
        return message
    if weight not in (0, 1):
        raise Unusable("weight value", f"has the weight {str(weight)[:20]}; only 0 and 1 are known")
    return {**message, "weight": int(weight)}


def without_empty_turns(value: Any) -> Any:
    """A chat without empty turns of the assistant: how a row is mended that has some. None where nothing is left."""
    chat = opened(value)
    if not is_chat(chat):
        return None
    kept = [message for message in chat if not _is_empty_answer(message)]
    return kept if len(kept) < len(chat) else None


def _is_empty_answer(message: Mapping[str, Any]) -> bool:
    role = _ROLES.get(str(message.get("role", message.get("from", ""))).strip().lower())
    called = message.get("tool_calls") or message.get("function_call")
    return role == "assistant" and not called and not str(message.get("content", message.get("value")) or "").strip()


def _calls(value: Any) -> list[dict[str, Any]]:
    """Tool calls with their arguments as an object, which is what chat templates print."""
    calls = []
    for call in value if isinstance(value, list) else [value]:
        inner = call.get("function", call) if isinstance(call, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            raise Unusable("tool call", "has a tool call without a name")
        arguments = inner.get("arguments", inner.get("parameters", {}))
        parsed = opened(arguments)
        function = {"name": inner["name"], "arguments": parsed if isinstance(parsed, dict) else arguments}
        named = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
        calls.append({**named, "type": "function", "function": function})
    return calls


def _tools(value: Any) -> list[Any] | None:
    """The tools of a row in OpenAI's shape; None where it has none."""
    if value in (None, "", [], {}):
        return None
    tools = value if isinstance(value, list) else [value]
    if not all(isinstance(tool, dict) for tool in tools):
        raise Unusable("tools", "has tools that are no list of objects")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]


def _content(value: Any) -> str:
    """A message's text; a list of text parts is joined. Pictures and the like are refused."""
    if not isinstance(value, list):
        return as_text(value, "a message")
    parts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part for part in value]
    if not all(isinstance(part, str) for part in parts):
        raise Unusable("parts", "has a message that is not text")
    return "".join(str(part) for part in parts)
