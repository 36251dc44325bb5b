"""The first blocks of a base model on the meta device, with what the trainer puts on it. No weight is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from studio.core.config import RunConfig
from worker.gpu import DTYPES
from worker.trainer.attach import attach, whole
from worker.trainer.checkpointing import save_activations
from worker.trainer.job import Job

META = "meta"


@dataclass(frozen=True)
class Sketch:
    """A model of a few blocks, ready for a forward pass."""

    model: Any
    blocks: int

    @property
    def standing(self) -> list[torch.Tensor]:
        """What is in memory before any step."""
        return [*self.model.parameters(), *self.model.buffers()]


def sketch(folder: Path, config: RunConfig, dtype: str, blocks: int, device: str = META) -> Sketch:
    """`folder` needs a `config.json` alone."""
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
    model.train()
    return Sketch(model, blocks)


def _with_adapter(base: Any, config: RunConfig, folder: Path) -> Any:
    """The trainer's own adapter. First weights cost no memory later, and chosen blocks are counted as all of them."""
    adapter = config.adapter.model_copy(
        update={"init_lora_weights": "default", "layers_to_transform": "", "continue_from": ""}
    )
    return attach(base, adapter, Job("", 0, config, folder, "", "", "hub", Path(), Path()))
