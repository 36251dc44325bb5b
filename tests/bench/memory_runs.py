"""The runs of `tests.bench.memory`: their models, their data, and the child process that forecasts or measures one."""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.core.config import parse_config
from studio.core.estimate.memory import Load, memory
from studio.core.estimate.terms import Shape
from studio.core.microbatches import BLOCKS_UP_TO, CHECK_TOKENS, most_tokens, token_budget

STEPS = 3
EXAMPLES, HELD_OUT = 24, 4
SHAPES: dict[str, dict[str, Any]] = {
    # wide and shallow, as no model is: what is counted for a block weighs less than what stands once
    "wide": {"hidden_size": 1536, "intermediate_size": 4096, "num_hidden_layers": 6, "num_attention_heads": 12,
             "num_key_value_heads": 12, "vocab_size": 32000, "tie_word_embeddings": False},
    # half a billion weights, of which the words take more than a quarter
    "words": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
              "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    # that of Llama 3 8B: for accelerators
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False},
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One row of the table. `examples` is how many make a step."""

    name: str
    model: str
    length: int
    examples: int = 4
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


Groups = Mapping[str, Mapping[str, Any]]
DORA: Groups = {"adapter": {"use_dora": True}}
FULL: Groups = {"adapter": {"tuner": "full"}, "training": {"learning_rate": 1e-5}}
FULL_AGAIN: Groups = {**FULL, "training": {"learning_rate": 1e-5, "activation_checkpointing": "full"}}
NF4: Groups = {"base": {"quantization": "nf4"}}
AGAIN: Groups = {"training": {"activation_checkpointing": "full"}}
RUNS = (
    Run("starter lora 256", "starter", 256),
    Run("starter lora 1024", "starter", 1024, 2),
    Run("starter lora 1024 checkpointing", "starter", 1024, 2, AGAIN),
    Run("starter dora 256", "starter", 256, 4, DORA),
    Run("starter nf4 256", "starter", 256, 4, NF4),
    Run("starter full 256", "starter", 256, 4, FULL),
    Run("starter lora 256 float32", "starter", 256, 4, {"base": {"dtype": "float32"}}),
    Run("wide lora 256", "wide", 256),
    Run("wide lora 1024", "wide", 1024, 2),
    Run("wide dora 256", "wide", 256, 4, DORA),
    Run("wide nf4 1024", "wide", 1024, 2, NF4),
    Run("wide full 256 checkpointing", "wide", 256, 4, FULL_AGAIN),
    Run("words lora 256", "words", 256),
    Run("words lora 1024 checkpointing", "words", 1024, 2, AGAIN),
    Run("words nf4 256", "words", 256, 4, NF4),
    Run("words full 256", "words", 256, 2, FULL),
)


def models(work: Path, starter: Path) -> dict[str, Path]:
    """The starter model, and folders where the random ones are made when they are needed."""
    return {"starter": starter, **{name: work / name for name in SHAPES}}


def config_of(run: Run) -> Any:
    """The run's config: three steps, so that the optimizer's memory stands beside the activations."""
    groups = {name: dict(values) for name, values in run.groups.items()}
    groups["base"] = {"dtype": "bfloat16", **groups.get("base", {})}
    training = {"max_length": run.length, "per_device_train_batch_size": run.examples, "max_steps": STEPS}
    groups["training"] = {**training, "eval_steps": 2, "warmup_steps": 0, **groups.get("training", {})}
    return parse_config(groups)


def forecast(run: Run, folder: Path) -> dict[str, Any]:
    """Bytes by part, before anything is loaded."""
    from worker.dry_run import Plan
    from worker.dry_run.counting import count

    config, budget = config_of(run), token_budget(0, "cpu", "float32")
    rows, width = most_tokens([run.length] * EXAMPLES, run.examples, budget)
    learnt = round(learnt_share(run) * width)
    check = Shape(min(HELD_OUT, CHECK_TOKENS // run.length), run.length, 0)
    check = Shape(check.rows, check.width, learnt * check.rows)
    began = time.perf_counter()
    plan = Plan(config.base.dtype, accumulates=run.examples > rows, long=width > BLOCKS_UP_TO)
    counted = count(folder, config, plan)
    took = time.perf_counter() - began
    blocks = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    found = memory(config, config.base.dtype, counted, blocks, Load((Shape(rows, width, learnt * rows),), check))
    return {**found.__dict__, "total": found.total, "dry_run_seconds": round(took, 2)}


def learnt_share(run: Run) -> float:
    """The share of an example that is learnt: the answer, the second half of what `data` writes."""
    return 0.5


def measure(run: Run, folder: Path, work: Path) -> dict[str, Any]:
    """What the trainer itself says of its memory, after all its phases."""
    from worker.trainer import _before_torch

    _before_torch()
    from tests.integration.trainer_jobs import Recorder
    from worker.trainer.job import Job
    from worker.trainer.phases import train

    out = work / run.name.replace(" ", "-")
    out.mkdir()
    job = Job("b" * 12, 1, config_of(run), folder, run.model, "main", "local", data(run, folder, out), out, "f" * 64)
    began = time.perf_counter()
    result = train(job, Recorder())
    return {**result["memory"], "seconds": round(time.perf_counter() - began, 1), "phases": result["phases"],
            "learnt": result["supervised_tokens"]}  # fmt: skip


def data(run: Run, folder: Path, out: Path) -> Path:
    """Examples that are all longer than the run's longest, so that all are cut to it; half of each is learnt."""
    from studio.core.examples import Example
    from studio.core.learning import learn_all
    from studio.core.tokenizer import load_chat
    from tests.integration.trainer_jobs import write_data

    chat, words = load_chat(folder), "word "

    def chats(asked: int) -> list[dict[str, Any]]:
        return [{"role": "user", "content": words * asked}, {"role": "assistant", "content": words * run.length * 2}]

    asked = next(
        n
        for n in range(1, run.length)
        if _asked(next(iter(learn_all([Example(chats(n))], chat, run.length)))) >= run.length / 2
    )
    return write_data(
        out / "data.parquet", [chats(asked)] * (EXAMPLES + HELD_OUT), [None] * EXAMPLES + ["eval"] * HELD_OUT
    )


def _asked(one: Any) -> int:
    return sum(label == -100 for label in one.labels)


def make(name: str, folder: Path, context: int = 2048, device: str = "cpu") -> None:
    """A model of random weights in its shape, drawn on `device`, with a small tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

    from tests.integration.tiny import make_tokenizer

    tokenizer = make_tokenizer()
    tokenizer.model_max_length = context
    kind = Qwen2Config if name == "words" else LlamaConfig
    config = kind(
        **SHAPES[name], max_position_embeddings=context, eos_token_id=tokenizer.eos_token_id, dtype="bfloat16"
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, safe_serialization=True, max_shard_size="50GB")
    tokenizer.save_pretrained(folder)


def main(step: str, name: str, folder: Path, work: Path) -> None:
    """The child: one JSON line."""
    run = next(run for run in RUNS if run.name == name)
    if not folder.exists():
        if os.fork() == 0:
            make(run.model, folder)
            os._exit(0)
        os.wait()
    found = forecast(run, folder) if step == "forecast" else measure(run, folder, work)
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
