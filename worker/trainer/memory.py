"""When memory is not enough: the step is done again in smaller micro-batches, with the same examples in it.

The gradient does not depend on the split, so nothing but the speed changes. Where an allocation can fail at all (an
accelerator, a limited process), the largest micro-batch that can come is tried before the first step.
"""

import gc
import resource
from collections.abc import Callable

import torch
from datasets import Dataset

from studio.core.errors import StudioError
from studio.core.microbatches import most_tokens
from studio.core.remedies import MEMORY
from worker.trainer.batches import Batch, Row, StepCollator, padded
from worker.trainer.callbacks import Meter, Watch
from worker.trainer.failures import explain
from worker.trainer.heap import Tidy
from worker.trainer.job import TrainingFailed
from worker.trainer.saving import Saver

Work = Callable[[list[Batch]], torch.Tensor]
LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA)


class Room:
    """Does a step's micro-batches; where memory is not enough, halves the collator's budget and does them again."""

    def __init__(self, collator: StepCollator, meter: Meter, saver: Saver, watch: Watch) -> None:
        """`saver` knows the random numbers of the last step's end, `watch` tells."""
        self._collator, self._meter, self._saver, self._watch = collator, meter, saver, watch
        self._lowered, self._tidy = False, Tidy()

    def probe(self, model: torch.nn.Module, data: Dataset, examples_per_step: int, work: Work) -> None:
        """Try the largest micro-batch that can come, forward and backward, and leave no trace of it but the budget.

        Raises `TrainingFailed` where even the longest example alone does not fit.
        """
        self._meter.begin_step()
        order = sorted(range(len(data)), key=lambda i: -data[i]["length"])
        rows, _ = most_tokens(data["length"], examples_per_step, self._collator.budget)
        self._try([padded([data[i] for i in order[:rows]], self._collator.pad_token_id)], model, work)
        self._undo(model)
        self._meter.resume()

    def step(self, model: torch.nn.Module, batches: list[Batch], work: Work) -> torch.Tensor:
        """The step's loss. Its gradient stands in `model`, as if nothing had happened. Raises `TrainingFailed`."""
        if self._lowered:  # the loader was a batch ahead
            batches = self._split(batches)
        self._tidy.now_and_then()
        self._meter.begin_step()
        return self._try(batches, model, work)

    def _try(self, batches: list[Batch], model: torch.nn.Module, work: Work) -> torch.Tensor:
        while True:
            try:
                return work(batches)
            except Exception as error:
                if not is_want_of_memory(error):
                    raise
            # Outside of the handler: the error's frames hold the tensors that there was no room for.
            self._undo(model)
            batches = self._smaller(batches)

    def _undo(self, model: torch.nn.Module) -> None:
        """As it was when the step began."""
        model.zero_grad(set_to_none=True)
        self._meter.undo_step()
        self._saver.rewind()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _smaller(self, batches: list[Batch]) -> list[Batch]:
        largest = max(batches, key=lambda batch: int(batch["room"]))
        if all(len(batch["input_ids"]) == 1 for batch in batches):
            longest = largest["input_ids"].shape[1]
            problem = f"The memory was not enough for a single example of {longest:,} tokens."
            remedy = "Let activations be computed again instead of kept, or cut examples shorter."
            raise TrainingFailed("out_of_memory", problem, remedy)
        before, self._collator.budget = self._collator.budget, max(1, int(largest["room"]) // 2)
        self._lowered = True
        self._watch.less_room(before, self._collator.budget)
        return self._split(batches)

    def _split(self, batches: list[Batch]) -> list[Batch]:
        if all(len(one["input_ids"]) == 1 or one["room"] <= self._collator.budget for one in batches):
            return batches
        device = batches[0]["input_ids"].device
        parts: list[Batch] = self._collator([row for batch in batches for row in rows_of(batch)])["micro_batches"]
        return [{k: v.to(device) if torch.is_tensor(v) else v for k, v in part.items()} for part in parts]


def rows_of(batch: Batch) -> list[Row]:
    """The examples that a padded batch was made of."""
    lengths = batch["attention_mask"].sum(1).tolist()
    both = zip(batch["input_ids"].tolist(), batch["labels"].tolist(), lengths, strict=True)
    return [{"input_ids": ids[:length], "labels": labels[:length]} for ids, labels, length in both]


def is_want_of_memory(error: Exception) -> bool:
    """Whether a library says that it could not get memory."""
    failure = None if isinstance(error, StudioError) else explain(error)
    return failure is not None and failure.reason in MEMORY


def can_fail(device_kind: str) -> bool:
    """Whether an allocation fails with an error here.

    Elsewhere the system ends the process, and trying would only cost time: the first step of an epoch has the longest
    examples anyway.
    """
    limited = any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in LIMITS)
    return device_kind != "cpu" or limited
