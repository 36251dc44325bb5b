"""Rendering and tokenising against transformers: byte for byte, id for id."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from studio.core.errors import Refused
from studio.core.learnt import IGNORED, ChatTemplate, learn, render
from studio.core.tokenizer import TokenizerEncoder, load_chat
from tests.integration.tiny import CHATML, make_tokenizer

TRL = Path(str(find_spec("trl").submodule_search_locations[0])) / "chat_templates"  # type: ignore[union-attr,index]
FAMILIES = [
    "llama3", "llama3_1", "gemma", "gemma3", "qwen2_5", "qwen3", "phi3", "glm4moe", "lfm2",
    "qwen2_5_training", "llama3_training", "gemma_training", "qwen3_training",
]  # fmt: skip
USER = {"role": "user", "content": "Größe?  Two\n  lines, 東京 🙂"}
ANSWER = {"role": "assistant", "content": '{"n": 2,\n    "city": "é"}'}
CHATS: list[list[dict[str, Any]]] = [
    [USER, ANSWER],
    [USER, ANSWER, USER, {"role": "assistant", "content": " trimmed? "}],
    [{"role": "system", "content": "Be brief."}, USER, ANSWER],
]


def sources() -> dict[str, str]:
    """Templates by name."""
    return {"smollm2": CHATML, **{name: (TRL / f"{name}.jinja").read_text() for name in FAMILIES}}


def of_transformers(tokenizer: PreTrainedTokenizerFast, chat: list[dict[str, Any]], prompt: bool) -> str | None:
    """What transformers renders; None where the template refuses the chat."""
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt))
    except Exception:
        return None


@pytest.mark.parametrize("name", ["smollm2", *FAMILIES])
@pytest.mark.parametrize("prompt", [False, True])
def test_rendering_equals_transformers_byte_for_byte(name: str, prompt: bool) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = sources()[name]
    template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens_map)
    rendered = 0
    for chat in CHATS:
        theirs = of_transformers(tokenizer, chat, prompt)
        if theirs is None:
            with pytest.raises(Refused):
                render(template, chat, add_generation_prompt=prompt)
        else:
            assert render(template, chat, add_generation_prompt=prompt).text == theirs
            rendered += 1
    assert rendered >= 2


@pytest.mark.parametrize("name", ["smollm2", "llama3", "gemma", "qwen2_5"])
def test_ids_equal_the_fast_tokenizers(name: str) -> None:
    tokenizer = make_tokenizer()
    template = ChatTemplate(sources()[name], tokenizer.special_tokens_map)
    encoder = TokenizerEncoder(make_tokenizer().backend_tokenizer, dict(tokenizer.special_tokens_map))
    for chat in CHATS[:2]:
        example = learn(chat, template, encoder)
        assert example.ids == tokenizer(example.text, add_special_tokens=False)["input_ids"]
        assert [encoded.ids for encoded in encoder.encode_batch([example.text])] == [example.ids]


@pytest.mark.parametrize("name", ["smollm2", "qwen2_5"])
def test_what_is_learnt_decodes_to_the_answers_with_their_ends(name: str) -> None:
    tokenizer = make_tokenizer()
    template = ChatTemplate(sources()[name], tokenizer.special_tokens_map)
    encoder = TokenizerEncoder(make_tokenizer().backend_tokenizer, dict(tokenizer.special_tokens_map))
    example = learn(CHATS[1], template, encoder)
    taught = tokenizer.decode([label for label in example.labels if label != IGNORED])
    assert taught == ANSWER["content"] + "<|im_end|> trimmed? <|im_end|>" and example.ends


@pytest.mark.parametrize("name", ["qwen2_5_training", "gemma_training", "llama3_training"])
def test_marks_learn_what_transformers_masks_but_the_white_space_at_the_end(name: str) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = sources()[name]
    template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens_map)
    encoder = TokenizerEncoder(make_tokenizer().backend_tokenizer, dict(tokenizer.special_tokens_map))
    example = learn(CHATS[1], template, encoder)
    theirs = tokenizer.apply_chat_template(CHATS[1], return_assistant_tokens_mask=True, return_dict=True)
    extra = [
        example.ids[k]
        for k, mask in enumerate(theirs["assistant_masks"])
        if bool(mask) != (example.labels[k] != IGNORED)
    ]
    assert set(tokenizer.decode(extra)) <= {"\n"}


def test_indents_of_an_answer_are_learnt_with_tokenizers_that_shave_offsets() -> None:
    from tokenizers import processors

    backend = make_tokenizer().backend_tokenizer
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer = make_tokenizer()
    template = ChatTemplate(CHATML, tokenizer.special_tokens_map)
    example = learn([USER, ANSWER], template, TokenizerEncoder(backend, dict(tokenizer.special_tokens_map)))
    assert tokenizer.decode([n for n in example.labels if n != IGNORED]) == ANSWER["content"] + "<|im_end|>"


def test_a_saved_folder_is_read_with_its_template_tokens_and_context(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 2048}')
    chat = load_chat(tmp_path)
    assert chat.template.source == CHATML and chat.context == 512
    assert chat.template.special == make_tokenizer().special_tokens_map
    assert chat.encoder.eos_id == make_tokenizer().eos_token_id and chat.encoder.eos_id in chat.encoder.special_ids


def test_templates_are_read_from_the_config_too(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    config = tmp_path / "tokenizer_config.json"
    for written, read in [
        ('"one"', "one"),
        ('[{"name": "x", "template": "a"}, {"name": "default", "template": "b"}]', "b"),
    ]:
        config.write_text(f'{{"eos_token": {{"content": "<|im_end|>"}}, "chat_template": {written}}}')
        chat = load_chat(tmp_path)
        assert chat.template.source == read and chat.template.special["eos_token"] == "<|im_end|>"


@pytest.mark.parametrize(
    ("gone", "written", "sentence"),
    [
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", "{", "tokenizer.json is damaged"),
        ("tokenizer_config.json", "[[", "tokenizer_config.json is damaged"),
    ],
)
def test_what_is_missing_or_damaged_in_a_model_is_told(
    tmp_path: Path, gone: str, written: str | None, sentence: str
) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / gone).unlink()
    if written is not None:
        (tmp_path / gone).write_text(written)
    with pytest.raises(Refused, match=sentence):
        load_chat(tmp_path)


def test_importing_it_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, studio.core.learnt, studio.core.tokenizer, studio.core.reader, studio.core.formats;"
        "print({'torch', 'transformers', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
