"""One small file of every recognised shape, and tiny models of several template families."""

import json
from pathlib import Path
from typing import Any

from tests.integration.test_learnt_exact import TRL
from tests.integration.tiny import CHATML, VOCABULARY, make_tiny_model, make_tokenizer

_USER, _SAID = {"role": "user", "content": "Send two\n boxes?"}, {"role": "assistant", "content": '{"n": 2}'}
_MORE = [{"role": "user", "content": "And then?"}, {"role": "assistant", "content": "  Größe 東京 🙂 "}]
_NO = {"role": "assistant", "content": "No."}
_CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
_TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {
    "type": "object", "properties": {"x": {"type": "integer"}}}}}]  # fmt: skip
_SYSTEM = {"role": "system", "content": "Be brief."}

SHAPES: dict[str, list[dict[str, Any]]] = {
    "openai_chat": [
        {"messages": [_USER, _SAID]},
        {"messages": [_SYSTEM, _USER, {**_SAID, "weight": 0}, *_MORE]},
        {"messages": [_USER, {"role": "assistant", "content": None, "tool_calls": [_CALL]},
                      {"role": "tool", "tool_call_id": "abcdefghi", "content": "3"}, _SAID, *_MORE], "tools": _TOOLS},
    ],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "system": "Be kind."},
        {"conversations": [{"from": "human", "value": "Hi"},
                           {"from": "function_call", "value": '{"name": "add", "arguments": {"x": 1}}'},
                           {"from": "observation", "value": "3"}, {"from": "gpt", "value": "Three"}],
         "tools": json.dumps([_TOOLS[0]["function"]])},
    ],
    "alpaca": [
        {"instruction": "Add", "input": "2 3", "output": "5", "system": "", "history": [["Hi", "Ho"]]},
        {"instruction": "Say hi", "input": "", "output": "Hi", "system": "Be kind.", "history": []},
    ],
    "prompt_completion": [{"prompt": "Hi", "completion": "Ho"}, {"prompt": [_USER], "completion": [_SAID]}],
    "openai_preference": [
        {"input": {"messages": [_SYSTEM, _USER]}, "preferred_output": [_SAID], "non_preferred_output": [_NO]},
        {"input": {"messages": [_USER]}, "preferred_output": [_SAID], "non_preferred_output": [_NO]},
    ],
    "preference": [
        {"prompt": "Hi", "chosen": "Ho", "rejected": "No"},
        {"prompt": [_USER], "chosen": [_SAID, *_MORE], "rejected": [_NO]},
    ],
    "unpaired_preference": [
        {"prompt": "Hi", "completion": "Ho", "label": True}, {"prompt": "Hi", "completion": "Go", "label": "no"},
    ],
    "text": [{"text": "Once upon a time\n\nthere was <|im_end|> a 東京."}, {"text": " two "}],
}  # fmt: skip

# As Mistral writes it: system words and tools in front of the last question, nothing that opens an answer.
MISTRAL = (
    "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{{- bos_token }}"
    "{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- if tools and loop.index0 == ns.last %}{{- '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}"
    "{%- endif %}{{- '[INST] ' }}{%- if messages[0].role == 'system' and loop.index0 == ns.last %}"
    "{{- messages[0].content + '\\n\\n' }}{%- endif %}{{- m.content + '[/INST]' }}"
    "{%- elif m.role == 'tool' %}{{- '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}"
    "{%- elif m.tool_calls is defined %}{{- '[TOOL_CALLS]' + (m.tool_calls | tojson) + eos_token }}"
    "{%- elif m.role == 'assistant' %}{{- ' ' + m.content | trim + eos_token }}{%- endif %}{%- endfor %}"
)
_CHATML_MARKS = ["<|im_start|>", "<|im_end|>"]
_LLAMA_MARKS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
_MISTRAL_MARKS = ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
                  "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]  # fmt: skip
FAMILIES: dict[str, tuple[str, list[str], str, str]] = {  # template, marks, begin and end of turn
    "chatml": (CHATML, _CHATML_MARKS, "<|im_start|>", "<|im_end|>"),
    "chatml_without_system": (
        CHATML.replace("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", ""),
        _CHATML_MARKS, "<|im_start|>", "<|im_end|>",
    ),
    "qwen2_5": ((TRL / "qwen2_5.jinja").read_text(), _CHATML_MARKS, "<|im_start|>", "<|im_end|>"),
    "llama3_1": ((TRL / "llama3_1.jinja").read_text(), _LLAMA_MARKS, "<|begin_of_text|>", "<|eot_id|>"),
    "gemma3": (
        (TRL / "gemma3.jinja").read_text(), ["<bos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<end_of_turn>",
    ),
    "mistral": (MISTRAL, _MISTRAL_MARKS, "<s>", "</s>"),
}  # fmt: skip


def write_shape(folder: Path, shape: str) -> Path:
    """The file of one shape."""
    path = folder / f"{shape}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in SHAPES[shape]), encoding="utf-8")
    return path


def make_family(folder: Path, family: str) -> Path:
    """A tiny model with the template and the marks of one family."""
    template, marks, begin, end = FAMILIES[family]
    make_tiny_model(folder, vocabulary=VOCABULARY + len({*marks, begin, end}))
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = begin, end, end
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder
