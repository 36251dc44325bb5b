"""ORPO by TRL, whose trainer of it still lives among the experiments."""

import warnings
from typing import Any

import torch
from torch.nn import functional

with warnings.catch_warnings():  # that its interface may change: the version is pinned
    warnings.simplefilter("ignore")
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from studio.core.learnt import IGNORED
from worker.trainer.comparing import Batch, Comparing, Row

__all__ = ["ORPOConfig", "OrpoTuner"]


class OrpoTuner(Comparing, ORPOTrainer):
    """The better answer is learnt and its odds against the worse one raised, without a reference."""

    def tokenize_row(self, feature: Row, model: Any = None) -> Row:
        """It is tokenised already."""
        return feature

    def concatenated_forward(self, model: Any, batch: Batch) -> tuple[torch.Tensor, ...]:
        """(better and worse mean log-probability, their logits, the better answer's loss), on learnt tokens alone.

        TRL's own also learns the question.
        """
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).logits.float()
        said = self.get_batch_logps(logits, labels, average_log_prob=True)
        half = len(labels) // 2
        learnt = functional.cross_entropy(logits[:half, :-1].flatten(0, 1), labels[:half, 1:].flatten())
        return said[:half], said[half:], logits[:half], logits[half:], learnt

    def _checked_loss(self, batch: Batch) -> torch.Tensor:
        loss, metrics = self.get_batch_loss_metrics(self.model, batch, train_eval="eval")
        self.store_metrics(metrics, train_eval="eval")
        found: torch.Tensor = loss
        return found

    def _forget_check(self) -> None:
        self._stored_metrics["eval"].clear()
