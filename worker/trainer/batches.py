"""The examples of one optimizer step as micro-batches of tensors, with all that can be known of them known already.

Which positions are learnt, and how many, is found here, on the processor: nothing of it waits for a device later.
"""

from collections.abc import Sequence
from typing import Any

import torch

from studio.core.learnt import IGNORED
from studio.core.microbatches import micro_batches

WORTH_PACKING = 0.25  # of a step's tokens: attention over packed rows took a quarter of a small model's speed
Row = dict[str, Any]  # `input_ids` and `labels` of an example, as lists
Batch = dict[str, Any]


class StepCollator:
    """The rows of a step -> `{"micro_batches": [...], "learnt": tokens that are learnt}`."""

    def __init__(self, pad_token_id: int, budget: int, packing: bool = False) -> None:
        """`budget` counts tokens of a micro-batch; it may be lowered while a run goes on.

        With `spares_padding` a step is packed, though nobody asked for it, where that leaves out much padding.
        """
        self.pad_token_id, self.budget, self.packing, self.spares_padding = pad_token_id, budget, packing, False

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """Split by length."""
        lengths = [len(row["input_ids"]) for row in rows]
        packing = self.packing or (self.spares_padding and self._padding(lengths) > WORTH_PACKING)
        make = packed if packing else padded
        parts = micro_batches(lengths, self.budget, padded=not packing)
        batches = [make([rows[i] for i in part], self.pad_token_id) for part in parts]
        return {"micro_batches": batches, "learnt": sum(batch["learnt"] for batch in batches)}

    def _padding(self, lengths: list[int]) -> float:
        """Padding of a step in padded micro-batches, as a share of its tokens."""
        room = sum(len(part) * lengths[part[0]] for part in micro_batches(lengths, self.budget))
        return room / max(1, sum(lengths)) - 1


def padded(rows: Sequence[Row], pad_token_id: int) -> Batch:
    """Rows padded on the right to the longest.

    `where` are the places, in the flattened batch, whose next token is learnt; `targets` are those tokens; `tokens`
    counts without padding, `room` with it. Under causal attention no token sees what stands behind it, so the model
    needs no mask; `attention_mask` and `labels` are for paths that are not ours.
    """
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    width = int(lengths.max())
    input_ids = torch.full((len(rows), width), pad_token_id)
    labels = torch.full((len(rows), width), IGNORED)
    for number, row in enumerate(rows):
        input_ids[number, : lengths[number]] = torch.tensor(row["input_ids"])
        labels[number, : lengths[number]] = torch.tensor(row["labels"])
    ahead = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED).flatten()
    where = (ahead != IGNORED).nonzero().flatten()
    return {
        "input_ids": input_ids,
        "labels": labels,
        "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
        "where": where,
        "targets": ahead[where],
        "learnt": len(where),
        "tokens": int(lengths.sum()),
        "room": input_ids.numel(),
    }


def packed(rows: Sequence[Row], pad_token_id: int) -> Batch:
    """Rows one behind the other in a single one without padding; none sees another, for each counts its own places.

    Beside what `padded` gives: `packed_ids` and `packed_places`, both (1, tokens), and what flash attention wants to
    know of them, made once a batch and not in every layer: `starts` (int32, one more than rows) and `longest`. `where`
    points into the single row.
    """
    batch = padded(rows, pad_token_id)
    kept = batch["attention_mask"].bool()
    lengths = batch["attention_mask"].sum(1)
    places = torch.arange(kept.shape[1]).expand(kept.shape)
    position = kept.flatten().cumsum(0) - 1  # of a place in the padded batch, in the single row
    return batch | {
        "packed_ids": batch["input_ids"][kept][None],
        "packed_places": places[kept][None],
        "starts": torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int(),
        "longest": int(lengths.max()),
        "where": position[batch["where"]],
        "room": batch["tokens"],
    }
