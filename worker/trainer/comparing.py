"""DPO and KTO by TRL's trainers, fed with the studio's own tokens and masks: what is shown is what is trained.

The reference of DPO and KTO is the model as the run begins (the base model under a fresh adapter); what it says is
computed once before the first step, so no second model stands in memory and no epoch asks it again.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import SequentialSampler
from trl import DPOTrainer, KTOTrainer

from studio.core.learnt import IGNORED
from worker.trainer import lifeline
from worker.trainer.loss import on_device
from worker.trainer.tuner import Desk, Tuner

Row = dict[str, Any]
Batch = dict[str, Any]
REFERENCE_BATCH = 8


class Collator:
    """Rows -> tensors padded on the right: the better answers, then the worse ones; or judged answers.

    `completion_mask` marks exactly the tokens that the studio labels as learnt.
    """

    def __init__(self, pad_token_id: int) -> None:
        """`pad_token_id` fills up short rows."""
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """As TRL's own collators give it."""
        ids, labels = ([row[name] for row in rows] for name in ("input_ids", "labels"))
        if "rejected_ids" in rows[0]:
            ids += [row["rejected_ids"] for row in rows]
            labels += [row["rejected_labels"] for row in rows]
        batch = self._padded(ids, labels)
        if "kl_ids" in rows[0]:
            others = self._padded([row["kl_ids"] for row in rows], [row["kl_labels"] for row in rows])
            batch |= {f"KL_{name}": tensor for name, tensor in others.items()}
            batch["label"] = torch.tensor([row["label"] for row in rows])
        known = [name for name in rows[0] if name.startswith("ref_")]
        return batch | {name: torch.tensor([row[name] for row in rows]) for name in known}

    def _padded(self, ids: list[list[int]], labels: list[list[int]]) -> Batch:
        width = max(map(len, ids))
        filled = [row + [self.pad_token_id] * (width - len(row)) for row in ids]
        learnt = [[int(label != IGNORED) for label in row] + [0] * (width - len(row)) for row in labels]
        there = [[1] * len(row) + [0] * (width - len(row)) for row in ids]
        names = ("input_ids", "attention_mask", "completion_mask")
        return {name: torch.tensor(rows) for name, rows in zip(names, (filled, there, learnt), strict=True)}


class Comparing(Tuner):
    """What the three share: counting, the check on held-out examples by the method's own loss, the reference."""

    references: tuple[str, ...] = ()

    def __init__(self, *, desk: Desk, **rest: Any) -> None:
        """`rest` as for `Tuner`."""
        self._look = desk.look
        with _plain_copy(rest["model"]):
            super().__init__(desk=desk, **rest)
        if isinstance(self.model, PeftModel) and "ref" in self.model.peft_config:
            self.model.delete_adapter("ref")  # TRL's copy, asked once in `_precompute_ref_logps`

    def training_step(self, model: Any, inputs: Batch, *rest: Any) -> torch.Tensor:
        """One batch, forward and backward."""
        self._meter.batch(int(inputs["attention_mask"].sum()), inputs["attention_mask"].numel())
        self._meter.scored(int(inputs["completion_mask"][:, 1:].sum()), None)
        loss: torch.Tensor = super().training_step(model, inputs, *rest)
        self._meter.loss(loss)
        return loss

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        """It is prepared already."""
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """`dataset` with what the model says as the run begins: log-probabilities, summed over learnt tokens."""
        found: dict[str, list[float]] = {column: [0.0] * len(dataset) for column in self.references}
        with at_rest(self.model), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TRL asks transformers for a property by its older name
            for indices, batch in self._batches(dataset, REFERENCE_BATCH):
                said = self.compute_ref_log_probs(self.model, batch)
                for column, values in zip(self.references, said, strict=True):
                    for index, value in zip(indices, values.float().tolist(), strict=True):
                        found[column][index] = value
        for column, values in found.items():
            dataset = dataset.add_column(column, values)
        return dataset

    def _batches(self, dataset: Dataset, size: int) -> Iterator[tuple[list[int], Batch]]:
        """Rows of about one length together. Raises what a look for a stop raises."""
        order = sorted(range(len(dataset)), key=lambda index: -dataset[index]["length"])
        for start in range(0, len(order), size):
            lifeline.pulse()
            self._look()
            indices = order[start : start + size]
            yield indices, on_device(self.data_collator([dataset[i] for i in indices]), self.args.device)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The method's own loss on the held-out examples, each counted once."""
        self._forget_check()
        total = 0.0
        with at_rest(self.model):
            for indices, batch in self._batches(self.eval_dataset, self.args.per_device_eval_batch_size):
                total += float(self._checked_loss(batch)) * len(indices)
        return total / max(1, len(self.eval_dataset))

    def _checked_loss(self, batch: Batch) -> torch.Tensor:
        loss: torch.Tensor = self.compute_loss(self.model, batch)
        return loss

    def _forget_check(self) -> None:
        self._metrics["eval"].clear()

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """TRL adds the rewards of a check where the model is at rest, and those of training where it trains."""
        if "eval_loss" not in logs:
            return super().log(logs, *rest)
        with at_rest(self.model):
            super().log(logs, *rest)


class DpoTuner(Comparing, DPOTrainer):
    """A better and a worse answer, told apart more than the model as it began does."""

    references = ("ref_chosen_logps", "ref_rejected_logps")


class KtoTuner(Comparing, KTOTrainer):
    """Answers judged good or bad. Batches are the same in each epoch: their examples are paired with one another."""

    references = ("ref_logps", "ref_KL_logps")

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset or self.train_dataset)


@contextmanager
def at_rest(model: torch.nn.Module) -> Iterator[None]:
    """No dropout and no noise for as long as the block lasts."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


@contextmanager
def _plain_copy(model: Any) -> Iterator[None]:
    """TRL copies the adapter for its reference: one that begins plainly, where PiSSA would change the base again.

    And PEFT takes one adapter with biases only.
    """
    config = model.peft_config["default"] if isinstance(model, PeftModel) else None
    if config is None:
        yield
        return
    bias, config.bias, config.init_lora_weights = config.bias, "none", True
    try:
        yield
    finally:
        config.bias = bias
