"""What a model's small files may say, and what refuses it: code, paths, kernels, quantised or missing weights. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from studio.core.errors import Refused
from studio.core.model_build import Build, Shape

LEVELS = 64
MOST_LAYERS = 1000
MOST_WIDTH = 200_000
MOST_WORDS = 5_000_000
CODE_KEYS = {"auto_map", "custom_code", "code_revision", "trust_remote_code", "custom_generate", "custom_pipelines"}
KERNEL_KEYS = {"kernel_config", "use_kernels", "hub_kernels"}
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
NO_CODE = "Choose a model that transformers knows itself."


def refused(name: str, problem: str, remedy: str = "Choose another model.") -> Refused:
    """The refusal of the model that messages call `name`."""
    return Refused(f"The model {name[:200]!r} {problem}.", remedy, field="base.repo")


def check_texts(config: Mapping[str, Any], tokenizer: Mapping[str, Any], name: str) -> None:
    """Refuse configs that bring code, ask for kernels of a hub, name files to read, or nest without end."""
    for key, value in (*_entries(config, name), *_entries(tokenizer, name)):
        if key in CODE_KEYS and value:
            raise refused(name, "brings code of its own to run", NO_CODE)
        if (key in KERNEL_KEYS and value) or (key.endswith("attn_implementation") and "/" in str(value)):
            raise refused(name, "asks for a kernel with code from a hub", "Choose a model without one.")
    for key, value in tokenizer.items():
        if key.endswith(("_file", "_path")) and not key.endswith("name_or_path") and value:
            raise refused(name, f"has a tokenizer that asks for a file by its path ({key[:40]})")
    if config.get("quantization_config"):
        raise refused(name, "has quantised weights", "Choose the variant that is not quantised.")


def _entries(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All keys with their values, however deep; refused where they nest too deep."""
    left = [(value, 0)]
    while left:
        one, depth = left.pop()
        if depth > LEVELS:
            raise refused(name, f"has a config nested more than {LEVELS} levels")
        if isinstance(one, Mapping):
            yield from ((str(key), inner) for key, inner in one.items())
            left.extend((inner, depth + 1) for inner in one.values())
        elif isinstance(one, list):
            left.extend((inner, depth + 1) for inner in one)


def check_architecture(config: Mapping[str, Any], known: Mapping[str, frozenset[str]], name: str) -> str:
    """The architecture, one of those that `known` has for its `model_type` (empty: the name alone decides)."""
    named = config.get("architectures")
    architecture = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    model_type = config.get("model_type")
    if not architecture:
        raise refused(name, "is not a language model for chat: its config.json names no architecture")
    if not known:
        is_text = architecture.endswith(("ForCausalLM", "LMHeadModel"))
    else:
        is_text = any(architecture in classes for classes in known.values())
    if not is_text and architecture.endswith("ForCausalLM"):
        problem = f"has an architecture that the installed transformers does not know: {architecture[:80]!r}"
        raise refused(name, problem, NO_CODE)
    if not is_text:
        problem = f"is not a language model for chat: its architecture is {architecture[:80]!r}"
        raise refused(name, problem, "Choose one whose name ends in ForCausalLM.")
    if known and architecture not in known.get(str(model_type), frozenset()):
        raise refused(name, f"does not fit together: {architecture[:80]!r} is no {str(model_type)[:40]!r}")
    return architecture


def check_build(build: Build, names: Mapping[str, Any], tensors: Mapping[str, Shape], name: str) -> None:
    """Refuse sizes that nobody has, and weights that lack blocks or an embedding of the size that the config names.

    `names`: all tensors, as far as somebody knows them; transformers would make up what is missing, at random.
    """
    if build.layers > MOST_LAYERS or build.hidden_size > MOST_WIDTH or build.vocab_size > MOST_WORDS:
        raise refused(name, "claims a size that no model has")
    blocks = {int(part) for tensor in names for part in tensor.split(".")[:4] if part.isdecimal()}
    if build.layers and blocks and len(blocks) < build.layers:
        problem = f"is not whole: its config names {build.layers} layers, its weights hold {len(blocks)}"
        raise refused(name, problem, "Download it again.")
    rows = next((shape[0] for tensor, shape in tensors.items() if tensor.endswith(EMBEDDINGS)), 0)
    if build.vocab_size and rows and rows != build.vocab_size:
        problem = f"does not fit together: its config names {build.vocab_size:,} tokens, its weights hold {rows:,}"
        raise refused(name, problem, "Download it again.")
