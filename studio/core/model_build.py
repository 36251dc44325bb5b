"""How a model is built: layers, widths, heads, and the shapes of the linear layers in a block. Pure.

Read from `config.json` and from the headers of the weights where somebody has them; what neither says is 0 or empty.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]
HEADS = ("lm_head.weight", "embed_out.weight")
TRANSPOSED = {"gpt2", "openai-gpt"}
"""Their layers are written as (in, out)."""
MOST = 10**9


@dataclass(frozen=True, kw_only=True)
class Build:
    """Counts and widths; 0 where nobody says. `weight_bytes`: on disk, before any conversion.

    `shapes`: the linear layers of one block by their last name, as (out, in). `tied`: the head is the embedding.
    """

    model_type: str = ""
    layers: int = 0
    hidden_size: int = 0
    intermediate_size: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    vocab_size: int = 0
    tied: bool = False
    weight_bytes: int = 0
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def build_of(
    config: Mapping[str, Any], names: Iterable[str] = (), tensors: Mapping[str, Shape] | None = None, size: int = 0
) -> Build:
    """From the config, all tensors' `names` and the shapes of those known (one block is enough); `size` in bytes."""
    model_type = str(config.get("model_type") or "")[:80]
    hidden = first_count(config, "hidden_size", "n_embd", "d_model")
    heads = first_count(config, "num_attention_heads", "n_head", "n_heads")
    return Build(
        model_type=model_type,
        layers=first_count(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        hidden_size=hidden,
        intermediate_size=first_count(config, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
        heads=heads,
        kv_heads=first_count(config, "num_key_value_heads", "num_kv_heads") or heads,
        head_dim=first_count(config, "head_dim") or (hidden // heads if heads else 0),
        vocab_size=first_count(config, "vocab_size"),
        tied=is_tied(config, names),
        weight_bytes=size,
        shapes=linear_shapes(tensors or {}, transposed=model_type in TRANSPOSED),
    )


def is_tied(config: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether the embedding is also the head: the config says so, or there are tensors and none of them is a head."""
    said = config.get("tie_word_embeddings")
    known = tuple(names)
    has_head = any(name.endswith(HEADS) for name in known)
    return said if isinstance(said, bool) else bool(known) and not has_head


def linear_shapes(tensors: Mapping[str, Shape], *, transposed: bool = False) -> dict[str, tuple[int, int]]:
    """Last name to (out, in) of the linear layers inside the model's blocks, sorted by name."""
    found: dict[str, tuple[int, int]] = {}
    for name in sorted(tensors):
        shape, parts = tensors[name], name.split(".")
        if len(shape) == 2 and parts[-1] == "weight" and any(part.isdigit() for part in parts[:-2]):
            found.setdefault(parts[-2], (shape[1], shape[0]) if transposed else (shape[0], shape[1]))
    return dict(sorted(found.items()))


def is_of_first_block(name: str) -> bool:
    """Whether a tensor of this name lies in the model's first block."""
    numbers = [part for part in name.split(".") if part.isdigit()]
    return bool(numbers) and int(numbers[0]) == 0


def first_count(config: Mapping[str, Any], *keys: str) -> int:
    """The first of `keys` that holds a sane count; 0 where none does."""
    return next((config[key] for key in keys if is_count(config.get(key))), 0)


def is_count(value: Any) -> bool:
    """Whether this is a whole number above 0 that a model could have."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST
