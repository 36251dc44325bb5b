import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core import models, starter
from studio.core.architectures import causal_models
from studio.core.catalog import STARTER_PARAMETERS, STARTER_REPO
from studio.core.errors import Refused, StudioError, Unavailable
from studio.core.model_build import Build
from studio.core.settings import Settings
from tests.integration.hub_models import CHAT, files, hub_of_models, llama, saved, sharded, weights, write
from tests.integration.hub_server import Hub, Repo


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of_models(monkeypatch) as running:
        yield running


BAD = {
    "a pickle": (files(without=["model.safetensors"], extra={"pytorch_model.bin": b"x"}), "pickles"),
    "no weights": (files(without=["model.safetensors"]), "no safetensors weights"),
    "code in the config": (files(config={"auto_map": {"AutoModel": "m.M"}}), "code of its own"),
    "code in the tokenizer": (
        files(tokenizer_config={"auto_map": {"AutoTokenizer": ["t.T"]}}),
        "code of its own",
    ),
    "a kernel from a hub": (files(config={"_attn_implementation": "evil/kernel"}), "kernel"),
    "an encoder": (files(config={"architectures": ["BertModel"]}), "not a language model for chat"),
    "no architecture": (files(config={"architectures": None}), "names no architecture"),
    "no fast tokenizer": (files(without=["tokenizer.json"]), "has no tokenizer.json"),
    "quantised": (files(config={"quantization_config": {"quant_method": "gptq"}}), "quantised"),
    "code deep inside": (files(config={"text_config": {"auto_map": {"AutoModel": "m.M"}}}), "code of its own"),
    "a kernel deep inside": (files(config={"text_config": {"_attn_implementation": "evil/kernel"}}), "kernel"),
    "a path to read": (files(tokenizer_config={"tokenizer_file": "/etc/passwd"}), "asks for a file by its path"),
    "nested levels": (files(config={"x": json.loads("[" * 80 + "]" * 80)}), "nested more than 64 levels"),
    "an unknown architecture": (files(config={"architectures": ["EvilForCausalLM"]}), "does not know"),
    "a type of another": (files(config={"model_type": "gpt2"}), "does not fit together"),
    "a claimed size": (files(config={"vocab_size": 900_000_000}), "claims a size"),
    "an adapter": (files(without=["config.json"], extra={"adapter_config.json": b"{}"}), "is an adapter"),
    "a config that is a list": (files(extra={"config.json": b"[1]"}), "not a JSON object"),
    "a nested bomb": (files(extra={"config.json": b"[" * 100_000}), "not JSON"),
    "a huge config": (files(extra={"config.json": b" " * 1_100_000 + b"{}"}), "1 MB is the limit"),
    "a lost part": (
        {k: v for k, v in sharded().items() if k != "model-00002-of-00002.safetensors"},
        "parts that are not there",
    ),
}


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the Hub is a closed port."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_the_facts_of_a_hub_model_come_without_its_weights(server: Hub, settings: Settings) -> None:
    facts = models.look_up(CHAT, "main", settings)
    assert facts.ref.revision == server.repos[CHAT].commit
    assert (facts.architecture, facts.context, facts.licence) == ("LlamaForCausalLM", 512, "apache-2.0")
    assert not facts.is_here and facts.bytes_to_fetch > 400
    assert not list(settings.models_dir.rglob("*.safetensors"))
    assert server.asked("tokenizer.json") == 0


def test_no_token_of_the_operator_ever_reaches_the_hub(server: Hub, settings: Settings) -> None:
    models.ready_folder(CHAT, "main", settings)
    assert server.tokens == []


def test_a_fetched_model_needs_no_hub_any_more(
    server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, str]] = []
    ref = models.ready_folder(CHAT, "main", settings, lambda share, words: seen.append((share, words)))
    assert ref.folder and (ref.folder / "model.safetensors").read_bytes() == weights()
    assert not (ref.folder / "README.md").exists()
    assert seen[-1][0] == 1.0 and [share for share, _ in seen] == sorted(share for share, _ in seen)
    before = len(server.requests)
    assert models.ready_folder(CHAT, ref.revision, settings) == ref
    assert len(server.requests) == before
    no_network(monkeypatch)
    assert models.look_up(CHAT, "main", settings).parameters == 200
    assert [found.name for found in models.here(settings)] == ["SmolLM2-135M-Instruct", CHAT]


def test_a_sharded_model_comes_with_all_its_parts_and_nothing_else(server: Hub, settings: Settings) -> None:
    folder = models.ready_folder("acme/sharded", "main", settings).folder
    assert folder
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert server.asked("pytorch_model.bin") == server.asked("onnx") == 0


def test_a_model_whose_file_was_taken_away_is_fetched_again(server: Hub, settings: Settings) -> None:
    folder = models.ready_folder(CHAT, "main", settings).folder
    assert folder
    (folder / "model.safetensors").unlink()
    assert len(models.here(settings)) == 1
    again = models.ready_folder(CHAT, "main", settings).folder
    assert again and (again / "model.safetensors").read_bytes() == weights()


@pytest.mark.parametrize(
    ("repo", "revision", "problem"),
    [
        ("acme/nothing", "main", "No model called 'acme/nothing' on the Hub."),
        ("acme/secret", "main", "No model called 'acme/secret' on the Hub."),
        ("gpt5", "main", "No model called 'gpt5'."),
        ("../../etc", "main", "No model called '../../etc'."),
        ("https://x.org/a/b", "main", "No model called 'https://x.org/a/b'."),
        ("acme/gated", "main", "The model 'acme/gated' is gated"),
        (CHAT, "nope", f"The model '{CHAT}' has no revision 'nope'."),
        ("/no/such/folder", "main", "There is no folder of this name"),
    ],
)
def test_an_unknown_or_closed_model_is_refused_with_a_sentence(
    server: Hub, settings: Settings, repo: str, revision: str, problem: str
) -> None:
    with pytest.raises(Refused) as refused:
        models.look_up(repo, revision, settings)
    assert refused.value.problem.startswith(problem)
    assert refused.value.remedy and refused.value.field.startswith("base.")
    assert not settings.models_dir.exists() or not list(settings.models_dir.rglob("*.safetensors"))


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_trained_is_refused_from_the_hub_and_from_a_folder(
    server: Hub, settings: Settings, tmp_path: Path, case: str
) -> None:
    contents, words = BAD[case]
    server.repos["acme/bad"] = Repo(contents)
    folder = write(tmp_path / "bad", contents)
    for repo in ("acme/bad", str(folder)):
        with pytest.raises(Refused, match=words) as refused:
            models.look_up(repo, "main", settings)
        assert str(tmp_path) not in str(refused.value)
    assert server.asked("pytorch_model.bin") == server.asked("resolve/main") == 0


def test_a_folder_on_this_machine_is_used_where_it_lies(settings: Settings, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", files())
    facts = models.look_up(str(folder), "main", settings)
    assert facts.ref == models.ModelRef(str(folder), "local", "local", folder, "mine")
    assert (facts.parameters, facts.bytes_to_fetch) == (200, 0)
    assert models.ready_folder(str(folder), "local", settings).folder == folder
    assert models.tokenizer_folder(str(folder), "local", settings) == folder


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\xff" * 30, lambda data: b""])
def test_damaged_weights_in_a_folder_are_refused(settings: Settings, tmp_path: Path, damage: Any) -> None:
    folder = write(tmp_path / "mine", files(extra={"model.safetensors": damage(weights())}))
    with pytest.raises(Refused, match=r"'model\.safetensors' are (damaged|cut off)"):
        models.look_up(str(folder), "main", settings)


def test_the_preview_of_a_hub_model_gets_its_small_files_only(server: Hub, settings: Settings) -> None:
    folder = models.tokenizer_folder(CHAT, "main", settings)
    assert (folder / "tokenizer.json").is_file() and (folder / "chat_template.jinja").is_file()
    assert not list(settings.models_dir.rglob("*.safetensors"))
    assert len(models.here(settings)) == 1


def test_a_busy_hub_is_asked_again(server: Hub, settings: Settings) -> None:
    server.fail = [503]
    assert models.look_up(CHAT, "main", settings).context == 512


def test_a_hub_that_stays_away_is_unavailable_with_its_reason(
    server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_network(monkeypatch)
    with pytest.raises(Unavailable, match="The Hub does not answer") as gone:
        models.ready_folder(CHAT, "main", settings)
    assert getattr(gone.value, "reason", "") == "hub_unreachable"


def test_a_connection_reset_at_99_percent_leaves_no_half_model(server: Hub, settings: Settings) -> None:
    server.cut["model.safetensors"] = [len(weights()) - 5]
    folder = models.ready_folder(CHAT, "main", settings).folder
    assert folder and (folder / "model.safetensors").read_bytes() == weights()


def test_a_flipped_byte_on_the_way_is_found_and_nothing_is_recorded(server: Hub, settings: Settings) -> None:
    server.flip = {"model.safetensors"}
    with pytest.raises(Unavailable, match="arrived damaged"):
        models.ready_folder(CHAT, "main", settings)
    assert len(models.here(settings)) == 1
    server.flip = set()
    assert models.ready_folder(CHAT, "main", settings).folder


def test_offline_mode_is_respected(server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StudioError, match="HF_HUB_OFFLINE"):
        models.look_up(CHAT, "main", settings)
    assert server.requests == []


def test_the_starter_model_is_known_before_it_is_here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    no_network(monkeypatch)
    facts = models.look_up(STARTER_REPO, "main", settings)
    assert (facts.parameters, facts.is_here) == (STARTER_PARAMETERS, False)
    assert models.here(settings) == [facts.ref]
    with pytest.raises(Unavailable, match="not on this machine yet"):
        models.tokenizer_folder(STARTER_REPO, "main", settings)


def test_the_starter_model_comes_from_the_hub_where_it_answers(server: Hub, settings: Settings) -> None:
    server.repos[STARTER_REPO] = Repo(files(extra={"onnx/model.safetensors": weights()}))
    ref = models.ready_folder(STARTER_REPO, "main", settings)
    commit = server.repos[STARTER_REPO].commit
    assert (ref.source, ref.revision, ref.folder) == ("starter-hub", commit, starter.starter_dir(settings))
    came = starter.source(settings)
    assert came and came["source"] == "hub" and set(came["files"]) == {
        "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"
    }  # fmt: skip
    before = len(server.requests)
    assert models.ready_folder(STARTER_REPO, commit, settings) == models.ready_folder(STARTER_REPO, "main", settings)
    assert len(server.requests) == before


def test_the_module_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, studio.core.models; sys.exit(bool({'torch', 'transformers', 'gradio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0


def test_how_a_model_is_built_is_known_before_its_weights_are_fetched_and_the_same_after(
    server: Hub, settings: Settings
) -> None:
    config, tensors = llama()
    server.repos["acme/llama"] = Repo(files(config=config, extra={"model.safetensors": saved(tensors)}))
    before = models.look_up("acme/llama", "main", settings)
    assert server.sent < 20_000 and not before.is_here
    assert (before.layers, before.hidden_size, before.intermediate_size, before.vocab_size) == (2, 8, 12, 10)
    assert (before.heads, before.kv_heads, before.head_dim, before.tied) == (4, 1, 4, False)
    assert before.shapes == {"down_proj": (8, 12), "k_proj": (4, 8), "o_proj": (8, 16), "q_proj": (16, 8)}
    assert before.weight_bytes == len(saved(tensors)) and before.linear_layers == tuple(before.shapes)
    models.ready_folder("acme/llama", "main", settings)
    after = models.look_up("acme/llama", "main", settings)
    assert after.is_here
    for name in Build.__dataclass_fields__:
        assert getattr(after, name) == getattr(before, name), name


def test_of_a_model_in_parts_only_the_part_with_the_first_block_is_asked_for_its_header(
    server: Hub, settings: Settings
) -> None:
    config, tensors = llama(tie_word_embeddings=True)
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    of = {tensor: names["layers.0" in tensor] for tensor in tensors}
    parts = {name: saved({tensor: tensors[tensor] for tensor in of if of[tensor] == name}) for name in names}
    index = {"model.safetensors.index.json": json.dumps({"weight_map": of}).encode()}
    server.repos["acme/parts"] = Repo(files(config=config, without=["model.safetensors"], extra=parts | index))
    facts = models.look_up("acme/parts", "main", settings)
    assert facts.shapes["q_proj"] == (16, 8) and facts.tied
    assert server.asked(names[0]) == 0 and facts.weight_bytes == sum(map(len, parts.values()))


def test_weights_that_lack_layers_or_words_are_refused_before_they_are_fetched(server: Hub, settings: Settings) -> None:
    for change, words in (
        ({"num_hidden_layers": 3}, "names 3 layers, its weights hold 2"),
        (
            {"vocab_size": 11},
            "names 11 tokens, its weights hold 10",
        ),
    ):
        config, tensors = llama(**change)
        server.repos["acme/part"] = Repo(files(config=config, extra={"model.safetensors": saved(tensors)}))
        with pytest.raises(Refused, match=words):
            models.look_up("acme/part", "main", settings)


def test_a_folder_with_an_adapter_beside_its_weights_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", files(extra={"adapter_config.json": b"{}"}))
    with pytest.raises(Refused, match="holds an adapter beside its weights"):
        models.look_up(str(folder), "main", settings)


def test_the_architectures_are_those_of_the_installed_transformers() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as theirs

    known = causal_models()
    assert set(known) == set(theirs) and len(known) > 100
    assert known["llama"] == {"LlamaForCausalLM"} and known["gpt2"] == {"GPT2LMHeadModel"}
