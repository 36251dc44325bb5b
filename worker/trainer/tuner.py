"""What every method's trainer shares: the order of the examples, checkpoints, the check on held-out examples."""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from worker.trainer.callbacks import Meter, StopLook, Watch
from worker.trainer.job import TrainingFailed
from worker.trainer.loss import held_out_loss
from worker.trainer.prepare import Part
from worker.trainer.publish import save_trained, takes
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

    def __init__(self, *, desk: Desk, held_out: Part, patience: int = 0, **rest: Any) -> None:
        """`patience` counts checks without a better one, 0: no end to it. `rest` is the trainer's of the method."""
        super().__init__(**rest)
        self._patience = patience
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
        """What is trained, without PEFT's question to the Hub, without the arguments, which could hold a token."""
        save_trained(self.model, Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """What was trained so far into the tensors that are there."""
        if not takes(self.model, Path(resume_from_checkpoint)):
            problem = "The checkpoint's adapter is not of this run's shape."
            raise TrainingFailed("checkpoints_damaged", problem, "Retry it: the new run begins from the start.")

    def held_out_loss(self) -> float:
        """The mean loss of the held-out examples, as the model is now."""
        return held_out_loss(self.model, self._held_out.data, self.processing_class.pad_token_id, self._look)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The held-out loss, told to everyone who listens. Raises `StopAsked` between batches."""
        start, step = time.monotonic(), self.state.global_step
        loss = self.held_out_loss()
        if not math.isfinite(loss):
            raise self._watch.diverged(f"The loss on the held-out examples became {loss} at step {step:,}.")
        self._is_best = self.kept.best is None or loss < self.kept.best
        self.kept = replace(self.kept, last_check=(step, loss), waited=self.kept.waited + 1)
        if self._is_best:
            self.kept = replace(self.kept, best=loss, best_step=step, waited=0)
        found = {"eval_loss": loss}
        self.log(dict(found))
        self._watch.checked(step, loss, time.monotonic() - start)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        self.control.should_save |= self._is_best
        self._stop_early(step)
        return found

    def _stop_early(self, step: int) -> None:
        """End training where checks no longer get better; the run succeeds with what it learnt."""
        if self._patience and self.kept.waited >= self._patience and step < self.state.max_steps:
            self.control.should_training_stop = True
            words = f"{self.kept.waited} checks without a better one; the best was at step {self.kept.best_step:,}."
            self._watch.tell("note", f"Stopped early at step {step:,}", words)

    def publish_best(self) -> int | None:
        """The step whose weights are in the model now: the best check's where they are on disk, else None; told."""
        best = self.kept.best_step
        if not best or best == self.state.global_step:
            return best or None
        folder = self._saver.best(best)
        if folder is None or not takes(self.model, folder):
            words = f"The weights of step {best:,} are not on disk any more."
            self._watch.tell("warning", "The last weights are published, not the best", words)
            return None
        words = f"Loss {self.kept.best:.4f} on held-out examples; training went on to step {self.state.global_step:,}."
        self._watch.tell("note", f"The weights of step {best:,} are kept: its check was the best", words)
        return best
