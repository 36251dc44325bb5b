"""The adapter on disk, whole, with its tokenizer and template; and the proof that something was learnt."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file

from studio.core.artifacts import manifest, publish_dir
from studio.core.tokenizer import own_template
from worker.trainer.job import Job, TrainingFailed

WEIGHTS = "adapter_model.safetensors"
TEMPLATE = "chat_template.jinja"
BESIDE = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", TEMPLATE)


@dataclass(frozen=True)
class Proof:
    """What was found in the files read back from disk."""

    tensors: int
    changed: int
    files: dict[str, dict[str, Any]]


def snapshot(model: PeftModel) -> dict[str, torch.Tensor]:
    """The adapter's tensors before training, by the names they have on disk."""
    return {name: tensor.detach().clone() for name, tensor in _state(model).items()}


def _state(model: PeftModel) -> dict[str, torch.Tensor]:
    # save_embedding_layers=False: "auto" would ask the Hub for the base model's size
    state: dict[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    return state


def publish(job: Job, model: PeftModel, before: Mapping[str, torch.Tensor], template: str = "") -> Proof:
    """Write `adapter/` whole, after proving it. Raises `TrainingFailed` where nothing sound was learnt.

    `template` is the chat template that was learnt with: it stands beside the adapter where the model's own is another.
    """
    part, final = job.run_dir / f"adapter.part-{job.claim}", job.run_dir / "adapter"
    shutil.rmtree(part, ignore_errors=True)
    try:
        model.save_pretrained(part, safe_serialization=True, save_embedding_layers=False)
        (part / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
        for name in BESIDE:
            if (job.model_folder / name).is_file():
                shutil.copyfile(job.model_folder / name, part / name)
        if template and own_template(part) != template:
            (part / TEMPLATE).write_text(template, encoding="utf-8")
        changed = prove(load_file(part / WEIGHTS), before)
        publish_dir(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Proof(len(before), changed, manifest(final))


def prove(found: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor]) -> int:
    """How many tensors changed in training. Raises `TrainingFailed` where one is not finite, or no lora_B moved."""
    if set(found) != set(before):
        raise TrainingFailed("adapter_incomplete", "The adapter on disk lacks some of its parts.", "Start it again.")
    broken = [name for name, tensor in found.items() if not torch.isfinite(tensor).all()]
    if broken:
        problem = f"{len(broken)} of the adapter's {len(found)} parts hold numbers that are not finite."
        raise TrainingFailed("diverged", problem, "Take a lower learning rate.")
    changed = [name for name, tensor in found.items() if not torch.equal(tensor, before[name].cpu())]
    if not any("lora_B" in name for name in changed):
        problem = "Training ended without changing the adapter."
        raise TrainingFailed("nothing_learnt", problem, "Take a higher learning rate or more epochs.")
    return len(changed)
