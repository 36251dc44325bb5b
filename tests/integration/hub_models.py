"""Models for the stand-in Hub: small enough to write out, whole enough to be looked at and fetched."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studio.core import hub
from tests.integration.hub_server import Hub, Repo, serving

CHAT = "acme/tiny-chat"
TEMPLATE = b"{% for m in messages %}{{ m['content'] }}{% endfor %}"
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 512}


def weights(rows: int = 10, columns: int = 20) -> bytes:
    """One safetensors file with one tensor of zeros."""
    size = rows * columns * 2
    header = json.dumps({"w": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def files(**changes: Any) -> dict[str, bytes]:
    """A model that can be trained; `config` and `tokenizer_config` add fields, `without` and `extra` change files."""
    config = {**CONFIG, **changes.get("config", {})}
    whole = {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": json.dumps({"eos_token": "</s>", **changes.get("tokenizer_config", {})}).encode(),
        "chat_template.jinja": TEMPLATE,
        "model.safetensors": weights(),
        "README.md": b"# words",
        **changes.get("extra", {}),
    }
    return {name: data for name, data in whole.items() if name not in changes.get("without", ())}


def sharded() -> dict[str, bytes]:
    """The same in two parts with an index, beside a pickle and a subfolder that nobody should fetch."""
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"metadata": {"total_size": 800}, "weight_map": {"a": names[0], "b": names[1]}}
    extra = {name: weights() for name in names} | {"model.safetensors.index.json": json.dumps(index).encode()}
    extra |= {"pytorch_model.bin": b"pickle", "onnx/model.safetensors": weights()}
    return files(without=["model.safetensors"], extra=extra)


@contextmanager
def hub_of_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in Hub, without pauses between tries, and an operator with a token that must never be sent."""
    repos = {
        CHAT: Repo(files()),
        "acme/sharded": Repo(sharded()),
        "acme/gated": Repo(files(), gated=True),
        "acme/secret": Repo(files(), private=True),
    }
    monkeypatch.setattr(hub, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_operator")
    with serving(repos) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    """The files below `folder`."""
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def llama(**changes: Any) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """A config with heads of their own width, and its tensors: two blocks, an embedding, a head."""
    config = {
        "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 12, "head_dim": 4,
        "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 10, **changes,
    }  # fmt: skip
    block = {"self_attn.q_proj": [16, 8], "self_attn.k_proj": [4, 8], "self_attn.o_proj": [8, 16],
             "mlp.down_proj": [8, 12]}  # fmt: skip
    tensors = {f"model.layers.{i}.{name}.weight": shape for i in (0, 1) for name, shape in block.items()}
    norms = {f"model.layers.{i}.input_layernorm.weight": [8] for i in (0, 1)}
    return config, {"model.embed_tokens.weight": [10, 8], "lm_head.weight": [10, 8], **tensors, **norms}


def saved(tensors: dict[str, list[int]]) -> bytes:
    """A safetensors file of zeros with these tensors in BF16."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + bytes(at)
