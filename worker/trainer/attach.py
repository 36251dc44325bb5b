"""The adapter on a base model: its kind, its layers, and what it begins with. Also on the meta device."""

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import PreTrainedModel

from studio.core.config import AdapterConfig
from studio.core.config.rules import blocks
from studio.core.errors import Refused
from worker.trainer.job import Job, TrainingFailed

MOST_NAMES = 12
WEIGHTS = "adapter_model.safetensors"
PISSA_ROUNDS = 16  # of the randomised decomposition: seconds where the exact one takes minutes


@dataclass(frozen=True)
class Source:
    """The finished run whose adapter is trained further, and the folder of that adapter."""

    run_id: str
    folder: Path


def attach(base: PreTrainedModel, config: AdapterConfig, job: Job) -> PeftModel:
    """An adapter on `base`, in `base`'s own number format. Raises `Refused` for layers that do not exist.

    PEFT's default, a float32 adapter on a bfloat16 base, costs 57 % more activation memory and a conversion in every
    layer; the optimizer keeps float32 masters instead (`masters.py`).
    """
    lora = lora_config(base, config)
    with warnings.catch_warnings():  # PEFT 0.21 asks transformers 5.23 for a property that is being renamed
        warnings.simplefilter("ignore", FutureWarning)
        # tied embeddings that are trained whole, and biases: PEFT warns of what the config's help says
        warnings.filterwarnings("ignore", category=UserWarning, module="peft")
        model = get_peft_model(base, lora, autocast_adapter_dtype=False)
    for settings in model.peft_config.values():  # what is published names the model, never a folder of this machine
        settings.base_model_name_or_path = job.model_repo if job.model_source != "local" else job.model_folder.name
        settings.revision = job.model_revision if job.model_source == "hub" else None
    _in_format(model, base.dtype)
    return model


def whole(base: PreTrainedModel) -> PreTrainedModel:
    """`base` with every weight to be trained: full fine-tuning."""
    return base.requires_grad_(True)


def lora_config(base: PreTrainedModel, config: AdapterConfig) -> LoraConfig:
    """What PEFT is told. Raises `Refused` for layers and blocks that `base` does not have."""
    only = _blocks(base, config.layers_to_transform)
    return LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        # with chosen blocks PEFT takes no string
        target_modules=linear_names(base) if only and _names(config.target_modules) == ["all-linear"]
        else target_modules(base, config.target_modules),
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        init_lora_weights=f"pissa_niter_{PISSA_ROUNDS}" if config.init_lora_weights == "pissa" else True,
        layers_to_transform=only or None,
        modules_to_save=_saved(base, config.modules_to_save) or None,
        bias=config.bias,
        task_type="CAUSAL_LM",
    )  # fmt: skip


def begin_with(model: PeftModel, source: Source) -> None:
    """Put the weights of an earlier adapter into `model`. Raises `TrainingFailed` where they are not of its shape."""
    try:
        kept = json.loads((source.folder / "adapter_config.json").read_text())
        weights = load_file(source.folder / WEIGHTS)
    except OSError as error:
        raise Refused(
            "The adapter to continue from is gone.", "Choose another run, or start a fresh adapter.",
            field="adapter.continue_from",
        ) from error  # fmt: skip
    own = model.peft_config["default"]
    same = all(kept.get(name) == getattr(own, name) for name in ("r", "lora_alpha", "use_rslora", "use_dora", "bias"))
    try:
        found = set_peft_model_state_dict(model, weights) if same else None
    except RuntimeError:  # a size mismatch
        found = None
    missing = [name for name in found.missing_keys if "lora_" in name] if found is not None else []
    if found is None or found.unexpected_keys or missing:
        problem = f"The adapter of run {source.run_id} has another shape than this run's."
        raise TrainingFailed("adapter_shape", problem, "Choose the rank, scale and layers that it was trained with.")


def _in_format(model: PeftModel, dtype: torch.dtype) -> None:
    """Trained weights take the base's number format, also over a base in fewer bits, whose weights have none."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def target_modules(base: PreTrainedModel, wanted: str) -> str | list[str]:
    """`wanted` (all-linear, or names with commas) as PEFT takes it. Raises `Refused` naming the layers there are."""
    names = _names(wanted)
    if names == ["all-linear"]:
        return "all-linear"
    _check(names or [wanted], linear_names(base), "linear layer", "adapter.target_modules", " Or take all-linear.")
    return names


def linear_names(base: PreTrainedModel) -> list[str]:
    """Last names of the model's linear layers in their order, without the head that makes the words."""
    head = base.get_output_embeddings()
    found = (
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    return list(dict.fromkeys(found))


def _saved(base: PreTrainedModel, wanted: str) -> list[str]:
    """The layers that are trained as they are. Raises `Refused` naming those there are."""
    names = _names(wanted)
    real = dict.fromkeys(name.rpartition(".")[2] for name, _ in base.named_modules() if name)
    plain = [name for name in real if not name.isdecimal() and name not in linear_names(base)]
    _check(names, [*plain, *linear_names(base)], "layer", "adapter.modules_to_save", "")
    return names


def _check(names: Iterable[str], real: list[str], kind: str, field: str, more: str) -> None:
    unknown = [name for name in names if name not in real]
    if unknown:
        listed = ", ".join(real[:MOST_NAMES])
        problem = f"This model has no {kind} called {unknown[0][:60]!r}."
        raise Refused(problem, f"Its layers are: {listed}.{more}", field=field)


def _blocks(base: PreTrainedModel, wanted: str) -> list[int]:
    """The numbers of the chosen blocks; empty for all. Raises `Refused` for one that there is not."""
    chosen = list(blocks(wanted))
    count = int(getattr(base.config.get_text_config(), "num_hidden_layers", 0))
    if chosen and count and chosen[-1] >= count:
        raise Refused(
            f"This model has no block {chosen[-1]}: it has {count}.", f"Choose from 0-{count - 1}.",
            field="adapter.layers_to_transform",
        )  # fmt: skip
    return chosen


def _names(wanted: str) -> list[str]:
    return [name.strip() for name in wanted.split(",") if name.strip()]


def trained(model: Any) -> dict[str, torch.nn.Parameter]:
    """The weights that a step changes, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def causal_of(model: Any) -> PreTrainedModel:
    """The language model itself, whether an adapter is on it or not."""
    found: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    return found
