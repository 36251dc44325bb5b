"""What every method's trainer shares: the order of the examples, checkpoints, the check on held-out examples."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.job import TrainingFailed
from worker.trainer.loss import held_out_loss
from worker.trainer.prepare import Part
from worker.trainer.publish import WEIGHTS
from worker.trainer.saving import Kept, Saver


@dataclass
class Desk:
    """What a trainer is given beside its work: who is told, who counts, who saves, and what is known so far."""

    meter: Meter
    watch: Watch
    look: StopLook
    saver: Saver
    kept: Kept


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


class Tuner(Trainer):
    """What the trainers of all methods share; it stands before TRL's own: `class X(Tuner, SFTTrainer)`."""

    def __init__(self, *, desk: Desk, held_out: Part, **rest: Any) -> None:
        """`rest` is the trainer's of the method."""
        super().__init__(**rest)
        self._meter, self._watch, self._look, self._held_out = desk.meter, desk.watch, desk.look, held_out
        self._saver, self.kept = desk.saver, desk.kept
        self._is_best = False
        self.remove_callback(PrinterCallback)

    @property
    def last_check(self) -> tuple[int, float] | None:
        """Step and loss of the last check on the held-out examples."""
        return self.kept.last_check

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        """Whole steps are grouped by length, so every path takes the same examples into the same step."""
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
