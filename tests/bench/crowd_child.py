"""What the bench of the crowd asks the libraries: each answer once more, alone, by a freshly loaded model."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from worker.engine.prompts import Prompts
from worker.gpu import use_threads

NEAREST = 20
"""A token that was as good as the best one is among so many."""


def adapter(folder: Path, out: Path, seed: int) -> None:
    """LoRA r = 16 on all linear layers, random, so that it answers otherwise than its base."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, settings)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    model.save_pretrained(out, safe_serialization=True)


def again(folder: Path, adapters: dict[str, str], dtype: str, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whether each answer is the lone one; where not, the first token that differs and how near a tie it was."""
    use_threads()
    prompts, found = Prompts(folder), []
    for name in ("base", *adapters):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True).eval()
        if name != "base":
            model = PeftModel.from_pretrained(model, adapters[name], autocast_adapter_dtype=False).eval()
        found += [compared(model, prompts, one) for one in answers if one["model"] == name]
    return found


@torch.inference_mode()
def compared(model: Any, prompts: Prompts, answer: dict[str, Any]) -> dict[str, Any]:
    """One answer beside the lone one. `gap` is between the logits of its token and of the lone one."""
    ids, ends = torch.tensor([prompts.ids(answer["messages"])]), sorted(prompts.ends)
    most = answer["most"]
    alone = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False,
                           eos_token_id=ends, pad_token_id=ends[0], output_logits=True,
                           return_dict_in_generate=True)  # fmt: skip
    made = [token for token in alone.sequences[0, ids.shape[1] :].tolist() if token not in ends]
    mine, theirs = answer["tokens"], [prompts.text([token]) for token in made]
    if mine == theirs:
        return {"same": True, "usual": _usual(alone.logits)}
    at = next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
    logits = alone.logits[at][0].float()
    best = logits.topk(NEAREST)
    words = ["" if token in ends else prompts.text([token]) for token in best.indices.tolist()]
    told = mine[at] if at < len(mine) else ""
    gap = float(best.values[0] - best.values[words.index(told)]) if told in words else None
    return {"same": False, "at": at, "gap": gap, "usual": _usual(alone.logits)}


def _usual(logits: Any) -> float:
    """How far apart the two best logits of a token usually are."""
    two = torch.cat(list(logits)).float().topk(2).values
    return float((two[:, 0] - two[:, 1]).median())


if __name__ == "__main__":
    order = json.load(sys.stdin)
    if "out" in order:
        adapter(Path(order["folder"]), Path(order["out"]), order["seed"])
    else:
        told = again(Path(order["folder"]), order["adapters"], order["dtype"], order["answers"])
        sys.stdout.write("\n" + json.dumps(told) + "\n")
