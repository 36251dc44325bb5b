"""Runs the trainer's own forward, loss and backward on one and on two blocks, and reads off what each of them costs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import torch

from studio.core.config import RunConfig
from studio.core.estimate.terms import LONG, PASSES, Counted, Shape, Terms, Weights, block_of, dot, once_of
from studio.core.microbatches import BLOCKS_UP_TO
from worker.dry_run import Plan
from worker.dry_run.ledger import Ledger, Saved, as_on_processor
from worker.dry_run.model import Sketch, sketch
from worker.trainer.attach import causal_of
from worker.trainer.head import chunk_of
from worker.trainer.loss import score

Found = dict[str, int]


def count(folder: Path, config: RunConfig, plan: Plan) -> Counted:
    """Coefficients for the model of `folder` under `config`, on the device and with the micro-batches of `plan`."""
    chunk = chunk_of(plan.kind)
    one, two = (sketch(folder, config, plan.dtype, blocks, plan.kind) for blocks in (1, 2))
    terms: dict[str, Terms] = {}
    for prefix, (narrow, wide) in shapes(chunk, plan.long).items():
        of_one = [(shape, one_step(one, shape, plan.accumulates)) for shape in (*narrow, *wide)]
        of_two = [(shape, one_step(two, shape, plan.accumulates)) for shape in narrow]
        for name in PASSES:
            one_block, two_blocks = ([(shape, found[name]) for shape, found in counts] for counts in (of_one, of_two))
            terms[prefix + name] = fit(one_block, two_blocks, chunk)
    return Counted(weights_of(one, two), terms, chunk, plan.accumulates)


def shapes(chunk: int, long: bool) -> dict[str, tuple[list[Shape], list[Shape]]]:
    """Chosen so that each term can be told from the others; small enough to be quick on a processor too.

    By prefix of the terms' names: those that tell what a block takes, and more that tell the rest. Widths are whole
    blocks of `attention`.
    """
    found = {"": (128, 384, chunk, 2 * chunk)}
    if long:
        found[LONG] = (BLOCKS_UP_TO + 128, BLOCKS_UP_TO + 512, BLOCKS_UP_TO + 256, BLOCKS_UP_TO + 512)
    return {
        prefix: (
            [Shape(1, low, 32), Shape(4, low, 32), Shape(1, high, 32)],
            [Shape(4, wide, chunk), Shape(4, wider, 2 * chunk), Shape(4, wider, 3 * chunk)],
        )
        for prefix, (low, high, wide, wider) in found.items()
    }


Bytes = Sequence[tuple[Shape, int]]


def fit(of_one: Bytes, of_two: Bytes, chunk: int) -> Terms:
    """The terms that give these bytes, of one block and, for the first shapes, of two: the difference is a block."""
    more = [two - one for (_, two), (_, one) in zip(of_two, of_one[: len(of_two)], strict=True)]
    block = _solve([block_of(shape) for shape, _ in of_two], more)
    rest = [found - dot(block, block_of(shape)) for shape, found in of_one]
    return Terms(_solve([once_of(shape, chunk) for shape, _ in of_one], rest), block)


def _solve(rows: Sequence[Sequence[float]], values: Sequence[float]) -> tuple[float, ...]:
    table = numpy.array(rows, dtype=float)
    size = numpy.abs(table).max(axis=0)  # columns of one size, or the small ones drown
    found = numpy.linalg.lstsq(table / size, numpy.array(values, dtype=float), rcond=None)[0] / size
    return tuple(float(value) for value in found)


def one_step(drawn: Sketch, shape: Shape, accumulates: bool = False) -> Found:
    """Bytes by name (`PASSES`) of one micro-batch, forward and backward, and of one forward without gradients."""
    model, device = drawn.model, next(drawn.model.parameters()).device
    batch = batch_of(shape, device)
    model.zero_grad(set_to_none=True)
    if accumulates:
        with as_on_processor(), Ledger(drawn.standing):
            score(model, batch_of(Shape(1, 8, 4), device), drawn.kind).loss.backward()
    ledger, saved = Ledger([*drawn.standing, *_tensors(batch)]), Saved(drawn.standing)
    ledger.live = ledger.most = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    with as_on_processor(), ledger, halfway(model, ledger) as body:
        with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
            found = score(model, batch, drawn.kind)
        head, kept = ledger.most, saved.bytes
        ledger.begin()
        (found.loss / shape.learnt).backward()
    del found
    model.zero_grad(set_to_none=True)
    counted = {"saved": kept, "body": body[0], "head": head, "backward": ledger.most}
    return counted | _check(drawn, batch)


def _check(drawn: Sketch, batch: dict[str, Any]) -> Found:
    ledger = Ledger([*drawn.standing, *_tensors(batch)])
    drawn.model.eval()
    with as_on_processor(), ledger, torch.no_grad(), halfway(drawn.model, ledger) as body:
        score(drawn.model, batch, drawn.kind)
    drawn.model.train()
    return {"check_body": body[0], "check_head": ledger.most}


@contextmanager
def halfway(model: Any, ledger: Ledger) -> Iterator[list[int]]:
    """Tells the most until the blocks are through from the most after them: the list gets the first."""
    found: list[int] = []

    def through(*_: Any) -> None:
        found.append(ledger.most)
        ledger.begin()

    handle = causal_of(model).base_model.register_forward_hook(through)
    try:
        yield found
    finally:
        handle.remove()


def _tensors(batch: dict[str, Any]) -> list[torch.Tensor]:
    return [value for value in batch.values() if torch.is_tensor(value)]


def batch_of(shape: Shape, device: torch.device) -> dict[str, Any]:
    """A micro-batch as the trainer's collator makes it."""
    return {
        "input_ids": torch.ones(shape.rows, shape.width, dtype=torch.long, device=device),
        "where": torch.arange(shape.learnt, device=device),
        "targets": torch.ones(shape.learnt, dtype=torch.long, device=device),
        "learnt": shape.learnt,
    }


def weights_of(one: Sketch, two: Sketch) -> Weights:
    """How many numbers there are, by what is done with them."""
    frozen_one, frozen_two = _sizes(one, lambda p: True), _sizes(two, lambda p: True)
    trained_one, trained_two = _sizes(one, _is_trained), _sizes(two, _is_trained)
    full = trained_one == frozen_one
    base_one, base_two = (frozen_one, frozen_two) if full else (frozen_one - trained_one, frozen_two - trained_two)
    packed_one, packed_two = _packed(one), _packed(two)
    return Weights(
        block=base_two - base_one,
        block_packed=sum(packed_two) - sum(packed_one),
        once=2 * base_one - base_two,
        block_trained=trained_two - trained_one,
        once_trained=2 * trained_one - trained_two,
        largest=max(packed_one, default=0),
    )


def _is_trained(parameter: torch.nn.Parameter) -> bool:
    return parameter.requires_grad


def _sizes(drawn: Sketch, chosen: Callable[[torch.nn.Parameter], bool]) -> int:
    """Numbers of all chosen parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in drawn.model.parameters() if chosen(parameter))


def _packed(drawn: Sketch) -> list[int]:
    """Sizes of the linear layers inside the blocks, which bitsandbytes packs; adapters are not among them."""
    return [
        module.weight.numel()
        for name, module in drawn.model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lora_" not in name and ".layers." in f".{name}"
    ]
