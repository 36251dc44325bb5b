"""`python -m tests.bench.training_child CONTENDER MODEL`: one contender, both shapes of data; see `training`."""

import json
import random
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from studio.core.machine import real_cores
from studio.core.tokenizer import load_chat
from tests.bench.chat_examples import _SAID
from tests.integration.trainer_jobs import Recorder, job, write_data
from worker import gpu
from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.job import Job
from worker.trainer.load import load
from worker.trainer.prepare import Prepared, prepare
from worker.trainer.saving import Kept, Saver
from worker.trainer.trainers import build
from worker.trainer.tuner import Desk

STEP = 16  # examples of a step
STEPS = {"even": 8, "ragged": 3}
HELD_OUT = 8
FRAME = 32  # tokens of the chat template


class Clock(TrainerCallback):
    """When steps begin and end, what they lost, and how long their gradient was."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.grad_norms: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._start)

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])
            self.grad_norms.append(float(logs["grad_norm"]))


def examples(shape: str) -> list[list[dict[str, Any]]]:
    """Chats of about 60 tokens, or of 24 to 512: a question of half of them and an answer of the other half."""
    rng, words = random.Random(shape), _SAID.split()
    found = []
    for _ in range(STEP * STEPS[shape] + HELD_OUT):
        tokens = 60 if shape == "even" else rng.randint(24, 512)
        half = max(1, (tokens - FRAME) // 2)
        asked, said = (" ".join(rng.choices(words, k=half)) for _ in range(2))
        found.append([{"role": "user", "content": asked}, {"role": "assistant", "content": said}])
    return found


def prepared(model: Path, shape: str, folder: Path, contender: str) -> tuple[Job, Prepared]:
    """The run and its examples, the same for everyone."""
    splits: list[str | None] = ["train"] * (STEP * STEPS[shape]) + ["eval"] * HELD_OUT
    data = write_data(folder / f"{shape}.parquet", examples(shape), splits)
    training = {
        "per_device_train_batch_size": STEP // 2,
        "gradient_accumulation_steps": 2,
        "max_steps": STEPS[shape],
        "max_length": 512,
        "path": "trl" if contender == "reference" else "fast",
        "warmup_steps": 0,
        "eval_steps": 1000,
    }
    base = {"dtype": "float32" if contender in ("reference", "exact") else "auto"}
    work = job(model, data, folder / f"{contender}-{shape}", base=base, adapter={"r": 16}, training=training)
    work = Job(**{**work.__dict__, "threads": real_cores(), "checkpoint_seconds": 1e9})
    return work, prepare(data, load_chat(model), work.config.training)


def ours(work: Job, data: Prepared, clock: Clock) -> tuple[float, dict[str, float]]:
    """Tunesmith's own trainer, by the parts that the phases use. Gives the held-out loss and the matrix speeds."""
    recorder, loaded = Recorder(), load(work)
    look, meter, saver = StopLook(recorder), Meter(), Saver(work, recorder)
    watch = Watch(recorder, meter, look, saver, 0.0)
    tuner = build(work, loaded, data, Desk(meter, watch, look, saver, Kept(loaded.dtype, loaded.threads, 0)))
    tuner.add_callback(clock)
    tuner.train()
    return tuner.evaluate()["eval_loss"], loaded.speeds


def theirs(model: Path, work: Job, data: Prepared, clock: Clock, tuned: bool) -> dict[str, float]:
    """TRL's trainer on the same token ids."""
    speeds = gpu.matmul_speeds()
    fast = speeds["bfloat16"] > speeds["float32"]
    more: dict[str, Any] = {} if fast else {"bf16": False}
    if tuned:
        more = {"bf16": False, "activation_checkpointing": False, "train_sampling_strategy": "group_by_length"}
    training = work.config.training
    args = SFTConfig(
        output_dir=str(work.run_dir / "trl"), max_steps=training.max_steps, max_length=None, report_to="none",
        dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=not tuned, use_cpu=True, logging_steps=1,
        per_device_train_batch_size=STEP // 2, gradient_accumulation_steps=2, save_strategy="no", disable_tqdm=True,
        learning_rate=training.learning_rate, dataloader_pin_memory=False, **more,
    )  # fmt: skip
    dtype = torch.bfloat16 if tuned and fast else torch.float32
    SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=dtype) if tuned else str(model),
        args=args,
        train_dataset=data.train.data,
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[clock],
    ).train()
    return speeds


def one(contender: str, model: Path, shape: str, folder: Path) -> dict[str, Any]:
    """Speed over all steps, with what the gates ask for."""
    work, data = prepared(model, shape, folder, contender)
    clock = Clock()
    found: dict[str, Any] = {}
    if contender in ("tunesmith", "reference", "exact"):
        found["eval"], found["matmul"] = ours(work, data, clock)
    else:
        found["matmul"] = theirs(model, work, data, clock, contender == "tuned_trl")
    # Every contender reads each example once in all, whatever its order, so all steps count and none is left out.
    found["tokens_per_s"] = data.train.tokens / sum(clock.seconds)
    return {**found, "losses": clock.losses, "grad_norms": clock.grad_norms, "seconds": clock.seconds}


def main(contender: str, model: Path) -> None:
    """Both shapes; one line of JSON."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(real_cores())
    with tempfile.TemporaryDirectory() as folder:
        result = {shape: one(contender, model, shape, Path(folder)) for shape in STEPS}
    result["matmul"] = result["even"].pop("matmul")
    result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
