"""The adapter on disk, whole, with its tokenizer and template; and the proof that something was learnt.

Of a fully fine-tuned run `adapter/` holds the whole model instead: `config.json` and safetensors, no adapter's config.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file

from studio.core.artifacts import manifest, publish_dir
from studio.core.tokenizer import own_template
from worker.trainer.attach import WEIGHTS, causal_of
from worker.trainer.job import Job, TrainingFailed
from worker.trainer.load import Loaded

TEMPLATE = "chat_template.jinja"
BESIDE = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", TEMPLATE)
SHARD = "4GB"

Before = Mapping[str, torch.Tensor | bytes]


@dataclass(frozen=True)
class Proof:
    """What was found in the files read back from disk."""

    tensors: int
    changed: int
    files: dict[str, dict[str, Any]]


def snapshot(model: Any) -> dict[str, torch.Tensor | bytes]:
    """What is trained, before training, by the names it has on disk; of a whole model a digest of each tensor."""
    if isinstance(model, PeftModel):
        return {name: tensor.detach().clone() for name, tensor in _state(model).items()}
    kept = set(map(id, model.parameters()))  # tied weights once, and no buffers: as they are saved
    found = {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in kept}
    tied = _tied(model)
    return {name: digest(tensor.detach()) for name, tensor in found.items() if name not in tied}


def _tied(model: Any) -> set[str]:
    """Names of weights that are another one's under a second name."""
    seen: set[int] = set()
    again = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in seen:
            again.add(name)
        seen.add(id(tensor))
    return again


def digest(tensor: torch.Tensor) -> bytes:
    """A fingerprint of a tensor's numbers."""
    raw = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(raw.data, digest_size=16).digest()


def _state(model: PeftModel) -> dict[str, torch.Tensor]:
    # save_embedding_layers=False: "auto" would ask the Hub for the base model's size
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def save_trained(model: Any, folder: Path) -> None:
    """What is trained, into `folder`: the adapter, or the whole model."""
    if isinstance(model, PeftModel):
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    else:
        model.save_pretrained(folder, safe_serialization=True, max_shard_size=SHARD)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card


def publish(job: Job, loaded: Loaded, before: Before, template: str = "") -> Proof:
    """Write `adapter/` whole, after proving it. Raises `TrainingFailed` where nothing sound was learnt.

    `template` is the chat template that was learnt with: it stands beside the adapter where the model's own is another.
    """
    part, final = job.run_dir / f"adapter.part-{job.claim}", job.run_dir / "adapter"
    shutil.rmtree(part, ignore_errors=True)
    try:
        save_trained(loaded.model, part)
        for name in BESIDE:
            if (job.model_folder / name).is_file():
                shutil.copyfile(job.model_folder / name, part / name)
        if template and own_template(part) != template:
            (part / TEMPLATE).write_text(template, encoding="utf-8")
        changed = prove(dict(_read_back(part)), before) if not loaded.is_whole else _prove_whole(part, before)
        if loaded.is_pissa:
            as_plain(loaded, before, part)
        publish_dir(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Proof(len(before), changed, manifest(final))


def _read_back(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors as they stand on disk, one after the other."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                yield name, file.get_tensor(name)


def prove(found: Mapping[str, torch.Tensor], before: Before) -> int:
    """How many tensors changed in training. Raises `TrainingFailed` where one is not finite, or no lora_B moved."""
    changed = _changed(found.items(), before)
    if not any("lora_B" in name for name in changed):
        raise _unchanged("adapter")
    return len(changed)


def _prove_whole(folder: Path, before: Before) -> int:
    changed = _changed(_read_back(folder), before)
    if not changed:
        raise _unchanged("model")
    return len(changed)


def _changed(found: Any, before: Before) -> list[str]:
    """The names of what is not as it was. Raises `TrainingFailed` where one is missing or not finite."""
    names, broken, changed = set(), 0, []
    for name, tensor in found:
        names.add(name)
        broken += not bool(torch.isfinite(tensor).all())
        old = before.get(name)
        if old is None:
            continue
        if digest(tensor) != old if isinstance(old, bytes) else not torch.equal(tensor, old.cpu()):
            changed.append(name)
    if names != set(before):
        raise TrainingFailed("adapter_incomplete", "The adapter on disk lacks some of its parts.", "Start it again.")
    if broken:
        problem = f"{broken} of the adapter's {len(names)} parts hold numbers that are not finite."
        raise TrainingFailed("diverged", problem, "Take a lower learning rate.")
    return changed


def _unchanged(what: str) -> TrainingFailed:
    problem = f"Training ended without changing the {what}."
    return TrainingFailed("nothing_learnt", problem, "Take a higher learning rate or more epochs.")


def as_plain(loaded: Loaded, before: Before, folder: Path) -> None:
    """Write PiSSA's adapter as a LoRA of twice the rank that stands on the untouched base model.

    PiSSA takes the strongest directions out of the base: what was learnt is the difference of its last and its first
    adapter, B A - B0 A0 = [B, -B0] [A; A0].
    """
    state, first = _state(loaded.model), {name: tensor for name, tensor in before.items() if torch.is_tensor(tensor)}
    out = {}
    for name, tensor in state.items():
        now, then = tensor.detach().cpu(), first[name].cpu()
        if "lora_A" in name:
            out[name] = torch.cat([now, then])
        elif "lora_B" in name:
            out[name] = torch.cat([now, -then], dim=1)
        else:
            out[name] = now
    config = copy(loaded.model.peft_config["default"])
    scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    config.r, config.lora_alpha, config.use_rslora = 2 * config.r, scale * 2 * config.r, False
    config.init_lora_weights, config.inference_mode = True, True
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, folder / WEIGHTS, {"format": "pt"})
    config.save_pretrained(folder)


def takes(model: Any, folder: Path) -> bool:
    """Put what `save_trained` wrote back into `model`, into the tensors that are there. False: it is of another shape.

    PEFT would make float32 of a bf16 adapter.
    """
    weights = dict(_read_back(folder))
    if isinstance(model, PeftModel):
        return not set_peft_model_state_dict(model, weights).unexpected_keys
    found = causal_of(model).load_state_dict(weights, strict=False)
    return not found.unexpected_keys and set(found.missing_keys) <= _tied(model)
