"""What a folder of model files is, read without running anything of it: small JSON files and safetensors headers.

The same checks serve a folder on this machine and a repository on the Hub (its small files fetched, the rest known by
name and size). Everything that would need somebody's code, or pickles, is refused here.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from studio.core.architectures import causal_models
from studio.core.errors import Refused
from studio.core.model_build import Build, Shape, build_of, first_count, is_of_first_block
from studio.core.model_checks import check_architecture, check_build, check_texts, refused

CONFIG_LIMIT = 1_000_000
TOKENIZER_CONFIG_LIMIT = 8_000_000
TOKENIZER_LIMIT = 64_000_000
INDEX_LIMIT = 16_000_000
HEADER_LIMIT = 25_000_000
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
TEXTS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "chat_template.json", INDEX,
)  # fmt: skip
NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack")
LIMITS = {
    "config.json": CONFIG_LIMIT, "generation_config.json": CONFIG_LIMIT, "chat_template.jinja": CONFIG_LIMIT,
    "chat_template.json": CONFIG_LIMIT, "tokenizer_config.json": TOKENIZER_CONFIG_LIMIT,
    "tokenizer.json": TOKENIZER_LIMIT, INDEX: INDEX_LIMIT,
}  # fmt: skip


@dataclass(frozen=True)
class Inspected:
    """A model that can be trained here. `context` (tokens), `width` and `parameters` are 0 where they are unknown.

    `linear_layers` names what LoRA can be put on; empty where no header of the weights was read. The rest are names of
    files; `block` are the parts whose headers tell how a block is built.
    """

    architecture: str
    context: int
    width: int
    parameters: int
    linear_layers: tuple[str, ...]
    weights: tuple[str, ...]
    texts: tuple[str, ...]
    block: tuple[str, ...]
    build: Build
    has_template: bool

    @property
    def names(self) -> list[str]:
        """All files that make up the model."""
        return [*self.texts, *self.weights]


def files_of(folder: Path) -> dict[str, int]:
    """Names and sizes (bytes) of the regular files that lie in `folder` itself."""
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}


def small_names(files: Mapping[str, int]) -> list[str]:
    """The files that the checks read, where they are not too large; the tokenizer itself is large and comes later."""
    return [name for name, most in LIMITS.items() if name != "tokenizer.json" and 0 <= files.get(name, -1) <= most]


def check_names(files: Mapping[str, int], name: str) -> None:
    """Refuse what can be told from names and sizes alone: strange paths, pickles only, missing or huge small files."""
    if any(PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts or "\\" in file for file in files):
        raise refused(name, "holds files with paths that lead outside of it")
    if "config.json" not in files and "adapter_config.json" in files:
        raise refused(name, "is an adapter, not a base model", "Choose the model that it was trained on.")
    if WEIGHTS not in files and INDEX not in files:
        if any(file.endswith(PICKLES) for file in files):
            raise refused(name, "has its weights only as pickles, which can run code", "Choose one with safetensors.")
        raise refused(name, "has no safetensors weights", f"It needs {WEIGHTS}, or an index with its parts.")
    missing = [file for file in NEEDED if file not in files]
    if missing:
        raise refused(name, f"has no {missing[0]}", "Choose a model that was saved whole with transformers.")
    for file, limit in LIMITS.items():
        if files.get(file, 0) > limit:
            raise refused(name, f"has a {file} of {files[file] / 1e6:,.0f} MB; {limit / 1e6:,.0f} MB is the limit")


def inspect(folder: Path, files: Mapping[str, int], name: str, headers: Mapping[str, Shape] | None = None) -> Inspected:
    """Check the small files in `folder`; `files` are all of the model's, also those not fetched yet.

    `name` is how messages call the model; `headers` are tensors with their shapes, of weights that are not here.
    Refused with a sentence for everything that can not be trained here.
    """
    check_names(files, name)
    if (folder / "adapter_config.json").is_file():  # transformers would load the model that it names instead
        raise refused(name, "holds an adapter beside its weights", "Take the adapter's files out of the folder.")
    config = read_object(folder / "config.json", CONFIG_LIMIT, name)
    tokenizer = read_object(folder / "tokenizer_config.json", TOKENIZER_CONFIG_LIMIT, name)
    check_texts(config, tokenizer, name)
    architecture = check_architecture(config, causal_models(), name)
    index = {} if WEIGHTS in files else _index(folder, files, name)
    weights = tuple(sorted(set(index.values()))) or (WEIGHTS,)
    texts = tuple(
        file for file in TEXTS if file in files and (file != INDEX or len(weights) > 1 or WEIGHTS not in files)
    )
    shapes = _shapes(folder, weights)
    seen = shapes or headers or {}
    build = build_of(config, [*seen, *index], seen, sum(files[part] for part in weights))
    check_build(build, {**dict.fromkeys(index), **seen}, seen, name)
    return Inspected(
        architecture,
        first_count(config, "max_position_embeddings", "n_positions"),
        build.hidden_size,
        sum(map(math.prod, shapes.values())) or _guess_parameters(weights, files, config),
        tuple(build.shapes),
        weights,
        texts,
        tuple(sorted({part for tensor, part in index.items() if is_of_first_block(tensor)})) or weights[:1],
        build,
        has_template(tokenizer, files),
    )


def read_object(path: Path, limit: int, name: str) -> dict[str, Any]:
    """The JSON object in `path`, refused above `limit` bytes, when nested too deep, or when it is not an object."""
    try:
        if not path.is_file() or path.stat().st_size > limit:
            raise refused(name, f"has no readable {path.name}")
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise refused(name, f"has a {path.name} that is not JSON") from error
    except OSError as error:
        raise refused(name, f"has a {path.name} that can not be read") from error
    if not isinstance(value, dict):
        raise refused(name, f"has a {path.name} that is not a JSON object")
    return value


def has_template(tokenizer: Mapping[str, Any], files: Mapping[str, int]) -> bool:
    """Whether a chat template is there: a file of its own, or inside tokenizer_config.json."""
    return "chat_template.jinja" in files or "chat_template.json" in files or bool(tokenizer.get("chat_template"))


def _index(folder: Path, files: Mapping[str, int], name: str) -> dict[str, str]:
    """Every tensor of a model in parts, to the safetensors file that holds it."""
    index = read_object(folder / INDEX, INDEX_LIMIT, name).get("weight_map")
    found = {tensor: str(part) for tensor, part in index.items()} if isinstance(index, dict) else {}
    parts = set(found.values())
    if not parts or any(part not in files or "/" in part or not part.endswith(".safetensors") for part in parts):
        raise refused(name, "is not whole: its index names parts that are not there", "Download it again.")
    return found


def _shapes(folder: Path, weights: tuple[str, ...]) -> dict[str, Shape]:
    """All tensors of the model with their shapes; empty where the weights are not all here."""
    if not all((folder / part).is_file() for part in weights):
        return {}
    return {name: shape for part in weights for name, shape in tensor_shapes(folder / part).items()}


def _guess_parameters(weights: tuple[str, ...], files: Mapping[str, int], config: Mapping[str, Any]) -> int:
    """From the size of the weights and the config's number format."""
    kind = str(config.get("dtype") or config.get("torch_dtype") or "")
    width = 4 if kind == "float32" else 2
    return sum(files[part] for part in weights) // width


def tensor_shapes(path: Path) -> dict[str, Shape]:
    """The tensors of one safetensors file by its header; Refused where the header or the file's length is not right."""
    try:
        with path.open("rb") as source:
            length = int.from_bytes(source.read(8), "little")
            if length > HEADER_LIMIT:
                raise ValueError("header too long")
            header = json.loads(source.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = 8 + length + max(int(entry["data_offsets"][1]) for entry in tensors.values())
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in tensors.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        raise Refused(
            f"The weights in {path.name!r} are damaged.", "Download them again.", field="base.repo"
        ) from error
    if path.stat().st_size != end:
        raise Refused(f"The weights in {path.name!r} are cut off.", "Download them again.", field="base.repo")
    return shapes
