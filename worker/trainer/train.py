"""The training loop: TRL's `SFTTrainer` with everything it would choose by itself chosen here."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTTrainer

from worker.trainer.arguments import arguments
from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.job import Job, TrainingFailed
from worker.trainer.load import Loaded
from worker.trainer.loss import has_plain_head, held_out_loss, score
from worker.trainer.masters import MasterAdamW
from worker.trainer.prepare import Part, Prepared
from worker.trainer.publish import WEIGHTS
from worker.trainer.saving import Kept, Saver


class EpochSampler(LengthGroupedSampler):
    """Groups by length in an order that depends on seed and epoch alone: a resumed epoch sees the same order.

    transformers' own draws from the global generator, whose state at an epoch's begin a resumed run does not know.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        """`batch_size` counts the examples of one optimizer step."""
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator())
        self._seed, self._epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Any:
        """The order of this epoch."""
        self.generator.manual_seed(self._seed + 1_000_003 * self._epoch)
        return super().__iter__()


class Tuner(SFTTrainer):
    """`SFTTrainer` with the loss on learnt positions only, and the held-out loss as a mean over learnt tokens."""

    def __init__(self, *, desk: "Desk", held_out: Part, **rest: Any) -> None:
        """`rest` is SFTTrainer's."""
        super().__init__(**rest)
        self._meter, self._watch, self._look, self._held_out = desk.meter, desk.watch, desk.look, held_out
        self._saver, self.kept = desk.saver, desk.kept
        self._plain = has_plain_head(self.model)
        self._is_best = False
        self.remove_callback(PrinterCallback)

    @property
    def last_check(self) -> tuple[int, float] | None:
        """Step and loss of the last check on the held-out examples."""
        return self.kept.last_check

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return EpochSampler(size, list((train_dataset or self.train_dataset)["length"]), self.args.seed)

    def save_now(self) -> None:
        """A checkpoint of the last whole step, where there is one."""
        if self.state.global_step:
            self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._watch.points.flush()  # first: what was measured before a checkpoint is not measured again after it
        self.kept = replace(self.kept, learnt=self._meter.learnt_in_all)
        best, self._is_best = self._is_best, False
        # transformers' own method: TRL's would write a model card first
        self._saver.save(
            self.state.global_step, lambda _: Trainer._save_checkpoint(self, model, trial), self.kept, best
        )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The adapter alone, without PEFT's question to the Hub, without the arguments, which could hold a token."""
        folder = Path(output_dir or self.args.output_dir)
        self.model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The adapter's weights into the tensors that are there: PEFT would make float32 of a bf16 adapter."""
        found = set_peft_model_state_dict(self.model, load_file(Path(resume_from_checkpoint) / WEIGHTS))
        if found.unexpected_keys:
            problem = "The checkpoint's adapter is not of this run's shape."
            raise TrainingFailed("checkpoints_damaged", problem, "Retry it: the new run begins from the start.")

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
        self._is_best = self.kept.best is None or loss < self.kept.best
        best = loss if self._is_best else self.kept.best
        self.kept = replace(self.kept, last_check=(self.state.global_step, loss), best=best)
        found = {"eval_loss": loss}
        self.log(dict(found))
        self._watch.checked(self.state.global_step, loss, time.monotonic() - start)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        self.control.should_save |= self._is_best
        return found


@dataclass
class Desk:
    """What a trainer is given beside its work: who is told, who counts, who saves, and what is known so far."""

    meter: Meter
    watch: Watch
    look: StopLook
    saver: Saver
    kept: Kept


def build(job: Job, loaded: Loaded, data: Prepared, desk: Desk) -> Tuner:
    """The trainer, ready for `.train()`."""
    optimizer = None
    if loaded.dtype == "bfloat16":
        training = job.config.training
        optimizer = MasterAdamW(
            loaded.model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
    return Tuner(
        desk=desk,
        held_out=data.held_out,
        model=loaded.model,
        args=arguments(job, loaded, data),
        train_dataset=data.train.data,
        eval_dataset=data.held_out.data if len(data.held_out) else None,
        processing_class=loaded.tokenizer,
        callbacks=[desk.watch],
        optimizers=(optimizer, None),
    )
