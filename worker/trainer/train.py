"""The training loop of SFT: TRL's `SFTTrainer` with everything it would choose by itself chosen here.

`FastTuner` is the studio's own path, `TrlTuner` TRL's: the same examples in the same steps, the same gradient.
"""

import time
from typing import Any

import torch
from peft import PeftModel
from transformers import TrainerControl
from trl import SFTTrainer

from studio.core.learnt import IGNORED
from worker.trainer.attach import causal_of
from worker.trainer.batches import StepCollator
from worker.trainer.loss import has_plain_head, score
from worker.trainer.memory import Room, can_fail
from worker.trainer.quick import quicken
from worker.trainer.rows import reads_packed
from worker.trainer.tuner import Tuner


class TrlTuner(Tuner, SFTTrainer):
    """TRL's own path: the person's batches, all positions through TRL's loss. The reference of the fast one."""

    def training_step(self, model: PeftModel, inputs: dict[str, torch.Tensor], *rest: Any) -> torch.Tensor:
        """One batch, forward and backward."""
        self._meter.batch(int(inputs["attention_mask"].sum()), inputs["attention_mask"].numel())
        self._meter.scored(int((inputs["labels"][:, 1:] != IGNORED).sum()), None)  # TRL logs its own accuracy
        loss: torch.Tensor = super().training_step(model, inputs, *rest)
        self._meter.loss(loss)
        return loss


class FastTuner(Tuner, SFTTrainer):
    """The loader gives whole steps; each is split into micro-batches by tokens, and only learnt positions are scored.

    transformers' loop sees one batch a step (`arguments`), so the number of steps is the person's whatever the split.
    """

    def __init__(self, *, collator: StepCollator, **rest: Any) -> None:
        """`collator` makes the micro-batches."""
        super().__init__(data_collator=collator, **rest)
        self._plain = has_plain_head(self.model)
        self.quick = quicken(self.model) if self._quickens() else {}
        collator.spares_padding = reads_packed(causal_of(self.model))
        self._room = Room(collator, self._meter, self._saver, self._watch)
        self._probes = can_fail(self.args.device.type)

    def _quickens(self) -> bool:
        """A compiled model fuses by itself."""
        return not any(getattr(part, "_compiled_call_impl", None) is not None for part in self.model.modules())

    def get_batch_samples(self, *given: Any) -> Any:
        """The next step's examples; how long they were waited for is told."""
        start = time.perf_counter()
        found = super().get_batch_samples(*given)
        self._meter.waited(time.perf_counter() - start)
        return found

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> int:
        """The step's learnt tokens: known since the batch was made, so nothing waits for the device."""
        return sum(step["learnt"] for step in batch_samples)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted here: transformers' count takes the backward as twice the forward, which LoRA's is not."""
        return 0

    def training_step(self, model: PeftModel, inputs: dict[str, Any], *rest: Any) -> torch.Tensor:
        """One optimizer step's micro-batches, forward and backward. Raises what `on_substep_end` raises between two."""

        def work(batches: list[dict[str, Any]]) -> torch.Tensor:
            return self._micro_batches(model, batches, *rest)

        if self._probes:
            self._probes = False
            self._room.probe(model, self.train_dataset, self.args.train_batch_size, work)
        return self._room.step(model, inputs["micro_batches"], work)

    def _micro_batches(self, model: PeftModel, batches: list[dict[str, Any]], *rest: Any) -> torch.Tensor:
        total = torch.zeros((), device=self.args.device)
        for number, batch in enumerate(batches):
            if number:
                self.control: TrainerControl = self.callback_handler.on_substep_end(self.args, self.state, self.control)
            self._meter.batch(batch["tokens"], batch["room"])
            if not self._plain:
                self._meter.scored(batch["learnt"], None)  # TRL logs its own accuracy
            loss = super().training_step(model, batch, *rest)
            self._meter.loss(loss)
            total += loss
        return total

    def compute_loss(
        self,
        model: PeftModel,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The micro-batch's share of the step's mean loss: its sum, over the learnt tokens of the whole step."""
        if return_outputs or not self._plain:
            known = {name: inputs[name] for name in ("input_ids", "attention_mask", "labels")}
            return super().compute_loss(model, known, return_outputs, num_items_in_batch)
        found = score(model, inputs)
        self._meter.scored(found.count, found.correct)
        return found.loss / (found.count if num_items_in_batch is None else num_items_in_batch)
