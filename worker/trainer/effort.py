"""What a loaded model costs in operations a token, for the share of the measured matrix speed that a run reaches."""

from collections.abc import Iterable
from typing import Any

import torch

from studio.core.operations import Work, attention_per_token, mean_seen, work

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def work_of(model: Any, lengths: Iterable[int], full: bool = False) -> Work | None:
    """Operations of training `model` (with or without an adapter on it) on examples of these lengths, in tokens.

    None for a model of experts, of which a token meets only some, and for one whose heads are not known.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    heads, layers = getattr(config, "num_attention_heads", None), getattr(config, "num_hidden_layers", None)
    if not heads or not layers or any(getattr(config, name, None) for name in _EXPERTS):
        return None
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    head = base.get_output_embeddings()
    body = sum(
        parameters_of(module)
        for name, module in base.named_modules()
        if module is not head and ".lora_" not in name and not name.startswith("lm_head.")
    )
    return work(body, parameters_of(head), attention_per_token(layers, width, mean_seen(lengths)), full)


def parameters_of(module: torch.nn.Module | None) -> int:
    """Matmul parameters of one linear layer, 0 for any other. Weights in fewer bits are counted by their shape."""
    if isinstance(module, torch.nn.Linear):
        return module.in_features * module.out_features
    weight = getattr(module, "weight", None)
    return int(weight.numel()) if weight is not None and type(module).__name__ == "Conv1D" else 0  # GPT-2's layer
