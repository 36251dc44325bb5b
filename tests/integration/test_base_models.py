"""A base model, which brings no chat template: what it is given is what is learnt, published and asked with."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from studio.core import models
from studio.core.errors import Refused
from studio.core.learnt import learn
from studio.core.settings import Settings
from studio.core.template import render
from studio.core.tokenizer import load_chat, own_template
from studio.core.use_cases.model_check import check_model
from tests.integration.tiny import VOCABULARY, make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, job, write_data
from worker.engine.prompts import Prompts
from worker.trainer.job import TrainingFailed
from worker.trainer.phases import train

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How many?"},
    {"role": "assistant", "content": "Two."},
]
QUICK = {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 0.005}


def change(folder: Path, name: str, **fields: Any) -> None:
    """Change fields of a JSON file; None takes one away."""
    value = json.loads((folder / name).read_text()) | fields
    (folder / name).write_text(json.dumps({key: one for key, one in value.items() if one is not None}))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The tiny model without template and pad token, ending texts with <|endoftext|>."""
    folder = make_tiny_model(tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    change(folder, "tokenizer_config.json", pad_token=None, eos_token="<|endoftext|>", chat_template=None)
    change(folder, "config.json", eos_token_id=0, pad_token_id=None)
    change(folder, "generation_config.json", eos_token_id=0, pad_token_id=None)
    return folder


@pytest.mark.parametrize(
    ("template", "text", "end"),
    [
        ("auto", "Be brief.\n\nUser:\nHow many?\n\nAssistant:\nTwo.<|endoftext|>\n\n", "<|endoftext|>"),
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow many?<|im_end|>\n"
            "<|im_start|>assistant\nTwo.<|im_end|>\n",
            "<|im_end|>",
        ),
    ],
)
def test_the_given_template_is_written_and_the_answer_and_its_end_are_learnt(
    base: Path, template: str, text: str, end: str
) -> None:
    chat = load_chat(base, template)
    learnt = learn(CHAT, chat.template, chat.encoder)
    assert learnt.text == text and learnt.ends
    supervised = [number for number in learnt.labels if number != -100]
    assert chat.encoder.encode("Two." + end).ids == supervised
    assert text.startswith(render(chat.template, CHAT[:2], add_generation_prompt=True).text)


def test_a_tokenizer_that_begins_texts_with_a_token_begins_chats_with_it_too(base: Path) -> None:
    path = base / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    piece = {"Sequence": {"id": "A", "type_id": 0}}
    mark = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing", "single": [mark, piece], "pair": [mark, piece, piece],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
    }  # fmt: skip
    path.write_text(json.dumps(tokenizer))
    chat = load_chat(base)
    assert render(chat.template, CHAT[1:2]).text == "<|im_start|>User:\nHow many?\n\n"


@pytest.mark.parametrize("template", ["auto", "chatml"])
def test_a_run_records_the_template_and_the_adapter_and_the_engine_have_the_same(
    base: Path, tmp_path: Path, template: str
) -> None:
    recorder, out = Recorder(), tmp_path / "run"
    work = job(base, write_data(tmp_path / "data.parquet", chats(8)), out, training=QUICK)
    work = type(work)(**{**vars(work), "config": work.config.model_copy(
        update={"base": work.config.base.model_copy(update={"chat_template": template})})})  # fmt: skip
    train(work, recorder)
    chat = load_chat(base, template)
    assert recorder.kept["chat_template"] == chat.written == ("plain" if template == "auto" else "chatml")
    assert recorder.kept["token_rules"]["pad_rule"] == "end" and recorder.kept["token_rules"]["pad_id"] == 0
    adapter = out / "adapter"
    assert own_template(adapter) == recorder.kept["template_source"] == chat.template.source
    theirs = AutoTokenizer.from_pretrained(adapter).apply_chat_template(CHAT, tokenize=False)
    assert theirs == render(chat.template, CHAT).text
    prompts = Prompts(base)
    prompts.learnt_with("run", adapter)
    wanted = render(chat.template, CHAT[:2], add_generation_prompt=True).text
    assert prompts.ids(CHAT[:2], "run") == chat.encoder.encode(wanted).ids
    assert chat.encoder.encode("<|im_end|>" if template == "chatml" else "<|endoftext|>").ids[0] in prompts.ends_of(
        "run"
    )
    assert prompts.ids(CHAT[:2]) == load_chat(base).encoder.encode(
        "Be brief.\n\nUser:\nHow many?\n\nAssistant:\n").ids  # fmt: skip


def test_the_gate_tells_of_a_base_model_which_template_it_gets(base: Path, settings: Settings) -> None:
    facts = models.look_up(str(base), "main", settings)
    assert not facts.has_template
    found = check_model(settings, facts)
    assert (found["template"], found["ends"], found["fits"]) == ("plain", True, ["plain", "chatml"])
    assert found["prompt"] == "User:\nHow many?\n\nAssistant:\n"


def test_a_base_model_that_names_no_end_of_text_is_refused(base: Path, settings: Settings) -> None:
    change(base, "tokenizer_config.json", eos_token=None)
    change(base, "config.json", eos_token_id=None)
    with pytest.raises(Refused, match="would never stop"):
        check_model(settings, models.look_up(str(base), "main", settings))


def test_chatml_is_refused_for_a_vocabulary_without_its_marks(base: Path) -> None:
    path = base / "tokenizer.json"
    path.write_text(path.read_text().replace("<|im_start|>", "<|other|>"))
    with pytest.raises(Refused, match="has no <\\|im_start\\|>") as refused:
        load_chat(base, "chatml")
    assert refused.value.field == "base.chat_template"


def test_tokens_beyond_the_models_room_are_refused_only_where_they_are_used(
    base: Path, settings: Settings, tmp_path: Path
) -> None:
    path = base / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    far = {"id": VOCABULARY, "content": "To Anna.", **plain}
    path.write_text(json.dumps({**tokenizer, "added_tokens": [*tokenizer["added_tokens"], far]}))
    found = check_model(settings, models.look_up(str(base), "main", settings))
    assert found["beyond"] == 1
    work = job(base, write_data(tmp_path / "data.parquet", chats(8)), tmp_path / "run", training=QUICK)
    with pytest.raises(TrainingFailed, match=r"'To Anna\.' \(400\); the model has room for 400") as failed:
        train(work, Recorder())
    assert failed.value.reason == "vocabulary_mismatch"


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{% if messages|length > 30 %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
        "{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
    ],
)
def test_a_hostile_template_is_stopped_when_the_model_is_chosen(base: Path, settings: Settings, template: str) -> None:
    (base / "chat_template.jinja").write_text(template)
    with pytest.raises(Refused, match=r"This model's chat template is unsafe or too slow\."):
        check_model(settings, models.look_up(str(base), "main", settings))
