"""The first blocks of a base model on the meta device, with what the trainer puts on it. No weight is read."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from studio.core.config import RunConfig
from worker.gpu import DTYPES
from worker.trainer.attach import attach, whole
from worker.trainer.checkpointing import save_activations
from worker.trainer.fused import drawn
from worker.trainer.job import Job
from worker.trainer.quick import quicken

META = "meta"
TINY = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64, "vocab_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64}  # fmt: skip


@dataclass(frozen=True)
class Sketch:
    """A model of a few blocks, ready for a forward pass."""

    model: Any
    blocks: int
    kind: str

    @property
    def standing(self) -> list[torch.Tensor]:
        """What is in memory before any step."""
        return [*self.model.parameters(), *self.model.buffers()]


def sketch(folder: Path, config: RunConfig, dtype: str, blocks: int, kind: str = "cpu", device: str = META) -> Sketch:
    """`folder` needs a `config.json` alone. The run goes to a device of `kind`; drawn is on `device`."""
    built = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    of_text = built.get_text_config()
    of_text.num_hidden_layers = blocks
    for name in ("layer_types", "mlp_layer_types"):
        if getattr(of_text, name, None):
            setattr(of_text, name, list(getattr(of_text, name))[:blocks])
    attention = config.base.attn_implementation
    with torch.device(device):
        base = AutoModelForCausalLM.from_config(
            built, dtype=DTYPES[dtype], attn_implementation="sdpa" if attention == "auto" else attention
        )
        base.config.use_cache = False
        model = whole(base) if config.adapter.tuner == "full" else _with_adapter(base, config, folder)
        save_activations(model, config.training)
    if config.training.path == "fast" and not config.training.torch_compile:
        quicken(model, drawn(kind), quickened(built) if device == META else None)
    model.train()
    return Sketch(model, blocks, kind)


def quickened(built: Any) -> set[str]:
    """The kinds of parts that the fast path stands in for, tried on a tiny model of the same make: it has numbers."""
    small = copy.deepcopy(built)
    of_text = small.get_text_config()
    for name, value in TINY.items():
        if getattr(of_text, name, None) is not None:
            setattr(of_text, name, value)
    of_text.pad_token_id = None
    try:
        tiny = AutoModelForCausalLM.from_config(small, dtype=torch.float32, attn_implementation="sdpa")
    except Exception:  # a make that can not be so small: counted with its own parts, which keep more
        return set()
    tiny.requires_grad_(False)  # as under an adapter; what is trained itself is told by the model that is drawn
    return {name for name, count in quicken(tiny).items() if count}


def _with_adapter(base: Any, config: RunConfig, folder: Path) -> Any:
    """The trainer's own adapter. First weights cost no memory later, and chosen blocks are counted as all of them."""
    adapter = config.adapter.model_copy(
        update={"init_lora_weights": "default", "layers_to_transform": "", "continue_from": ""}
    )
    return attach(base, adapter, Job("", 0, config, folder, "", "", "hub", Path(), Path()))
