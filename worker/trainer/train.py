"""The training loop: TRL's `SFTTrainer` with everything it would choose by itself chosen here."""

import math
import time
from typing import Any

import torch
from peft import PeftModel
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.job import Job, TrainingFailed
from worker.trainer.load import Loaded
from worker.trainer.loss import has_plain_head, held_out_loss, score
from worker.trainer.masters import MasterAdamW
from worker.trainer.prepare import Part, Prepared

CHECKS = 10
MOST_CHECK_SHARE = 0.1  # of the work of a run; a check reads forward only, training does about three times that


class Tuner(SFTTrainer):
    """`SFTTrainer` with the loss on learnt positions only, and the held-out loss as a mean over learnt tokens."""

    def __init__(self, *, meter: Meter, watch: Watch, look: StopLook, held_out: Part, **rest: Any) -> None:
        """`rest` is SFTTrainer's."""
        super().__init__(**rest)
        self._meter, self._watch, self._look, self._held_out = meter, watch, look, held_out
        self._plain = has_plain_head(self.model)
        self.last_check: tuple[int, float] | None = None
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: PeftModel,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The micro-batch's share of the step's mean loss: its sum, over the learnt tokens of the whole step."""
        if return_outputs or not self._plain:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        found = score(model, inputs["input_ids"], inputs["labels"])
        self._meter.scored(found.count, found.correct)
        return found.loss / (found.count if num_items_in_batch is None else num_items_in_batch)

    def training_step(self, model: PeftModel, inputs: dict[str, torch.Tensor], *rest: Any) -> torch.Tensor:
        """One micro-batch, forward and backward."""
        self._meter.batch(int(inputs["attention_mask"].sum()))
        if not self._plain:
            self._meter.scored(int((inputs["labels"][:, 1:] != -100).sum()), None)  # TRL logs its own accuracy
        loss: torch.Tensor = super().training_step(model, inputs, *rest)
        self._meter.loss(loss)
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The held-out loss, told to everyone who listens. Raises `StopAsked` between batches."""
        start = time.monotonic()
        loss = held_out_loss(self.model, self._held_out.data, self.processing_class.pad_token_id, self._look)
        if not math.isfinite(loss):
            problem = f"The loss on the held-out examples became {loss} at step {self.state.global_step}."
            raise TrainingFailed("diverged", problem, "Take a lower learning rate.")
        self.last_check = (self.state.global_step, loss)
        found = {"eval_loss": loss}
        self.log(dict(found))
        self._watch.checked(self.state.global_step, loss, time.monotonic() - start)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found


def build(job: Job, loaded: Loaded, data: Prepared, watch: Watch, meter: Meter, look: StopLook) -> Tuner:
    """The trainer, ready for `.train()`."""
    optimizer = None
    if loaded.dtype == "bfloat16":
        training = job.config.training
        optimizer = MasterAdamW(
            loaded.model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
    return Tuner(
        meter=meter,
        watch=watch,
        look=look,
        held_out=data.held_out,
        model=loaded.model,
        args=arguments(job, loaded, data),
        train_dataset=data.train.data,
        eval_dataset=data.held_out.data if len(data.held_out) else None,
        processing_class=loaded.tokenizer,
        callbacks=[watch],
        optimizers=(optimizer, None),
    )


def arguments(job: Job, loaded: Loaded, data: Prepared) -> SFTConfig:
    """What TRL is told. No hub token ever stands in it: every checkpoint writes it down in clear."""
    training = job.config.training
    passed = training.model_dump(exclude={"eval_share", "eval_steps", "predict_with_generate", "max_length"})
    checks = check_every(job, data)
    return SFTConfig(
        **passed,
        output_dir=str(job.run_dir / "checkpoints"),
        max_length=None,  # the examples are cut already
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        per_device_eval_batch_size=training.per_device_train_batch_size,
        eval_strategy="steps" if checks else "no",
        eval_steps=checks or None,
        save_strategy="no",
        # The model itself is in the chosen number format: no autocast, never fp16, which TRL would else turn on.
        bf16=False,
        fp16=False,
        use_cpu=loaded.device.kind == "cpu",
        activation_checkpointing=False,  # TRL's own default is True, under the old name
        optim="adamw_torch_fused",
        dataloader_num_workers=0,
        dataloader_pin_memory=loaded.device.kind != "cpu",
        logging_strategy="steps",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )


def steps_of(job: Job, examples: int) -> int:
    """Optimizer steps of the whole run, as the trainer counts them."""
    training = job.config.training
    batches = math.ceil(examples / training.per_device_train_batch_size)
    each = max(1, math.ceil(batches / training.gradient_accumulation_steps))
    return math.ceil(training.num_train_epochs * each)


def check_every(job: Job, data: Prepared) -> int:
    """Steps between two checks on the held-out examples; 0 for none.

    Where the person sets none: ten checks a run, fewer where they would cost more than a tenth of the work.
    """
    if not len(data.held_out):
        return 0
    if job.config.training.eval_steps:
        return job.config.training.eval_steps
    work = 3 * data.train.tokens * job.config.training.num_train_epochs
    checks = max(1, min(CHECKS, int(MOST_CHECK_SHARE * work / max(1, data.held_out.tokens))))
    return max(1, math.ceil(steps_of(job, len(data.train)) / checks))
