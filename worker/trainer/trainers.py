"""Which trainer a run gets, built with everything that is the run's: optimizer, activations, noise, compiling."""

from typing import Any

from studio.core.microbatches import token_budget
from worker.trainer.arguments import arguments, comparing_arguments
from worker.trainer.batches import StepCollator
from worker.trainer.checkpointing import compile_blocks, save_activations
from worker.trainer.comparing import Collator, DpoTuner, KtoTuner
from worker.trainer.job import Job
from worker.trainer.load import Loaded
from worker.trainer.optimizers import optimizer_of
from worker.trainer.orpo import OrpoTuner
from worker.trainer.prepare import Prepared
from worker.trainer.train import FastTuner, TrlTuner
from worker.trainer.tuner import Desk, Tuner

TUNERS: dict[str, Any] = {"dpo": DpoTuner, "kto": KtoTuner, "orpo": OrpoTuner}


def build(job: Job, loaded: Loaded, data: Prepared, desk: Desk) -> Tuner:
    """The trainer, ready for `.train()`. The model must be as the run begins: some methods ask it what it says now."""
    training = job.config.training
    if training.torch_compile:
        compile_blocks(loaded.model)
    # TRL makes bf16 of every adapter on a model that says it is in fewer bits; ours have the format that is fast here
    for mark in ("is_loaded_in_4bit", "is_loaded_in_8bit"):
        if getattr(loaded.model, mark, False):
            setattr(loaded.base, mark, False)
    given: dict[str, Any] = {
        "desk": desk,
        "held_out": data.held_out,
        "patience": training.early_stopping_patience,
        "model": loaded.model,
        "train_dataset": data.train.data,
        "eval_dataset": data.held_out.data if len(data.held_out) else None,
        "processing_class": loaded.tokenizer,
        "callbacks": [desk.watch],
        "optimizers": (optimizer_of(loaded.model.parameters(), training, loaded.dtype), None),
    }
    if job.config.method.name == "sft":
        tuner = _of_sft(job, loaded, data, given)
    else:
        collator, args = Collator(int(loaded.tokenizer.pad_token_id)), comparing_arguments(job, loaded, data)
        tuner = TUNERS[job.config.method.name](args=args, data_collator=collator, **given)
    save_activations(loaded.model, training)  # last: TRL switches it off and on again while it asks its reference
    return tuner


def _of_sft(job: Job, loaded: Loaded, data: Prepared, given: dict[str, Any]) -> Tuner:
    training, args = job.config.training, arguments(job, loaded, data)
    if training.path == "trl":
        return TrlTuner(args=args, **given)
    budget = token_budget(training.micro_batch_tokens, loaded.device.kind, loaded.dtype)
    collator = StepCollator(int(loaded.tokenizer.pad_token_id), budget, training.packing)
    return FastTuner(args=args, collator=collator, **given)
