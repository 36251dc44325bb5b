"""An answer by beam search: the model's own `generate`, told whole at the end, while all others go on."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from worker.engine.models import LoadedModel
from worker.engine.row import Row


class _Between(StoppingCriteria):
    """Asked after each token: lets others go on, and ends the search when the client has gone."""

    def __init__(self, row: Row, meanwhile: Callable[[], None]) -> None:
        self._row, self._meanwhile = row, meanwhile

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **_rest: Any) -> torch.BoolTensor:
        """Whether each row is done."""
        self._meanwhile()
        done = torch.full((len(input_ids),), self._row.stopped.is_set(), device=input_ids.device)
        return done  # type: ignore[return-value]


def answer_with_beams(loaded: LoadedModel, row: Row, meanwhile: Callable[[], None]) -> None:
    """Answer a row with `row.beams` beams; `meanwhile` is called after each of their tokens."""
    if row.left():
        return
    if not loaded.may_mix(row.key):  # others would answer with this row's adapter
        meanwhile = _nothing
    with loaded.nested([row.key] * row.beams) as model, torch.random.fork_rng():
        torch.manual_seed(row.seed)
        prompt = torch.tensor([list(row.prompt)], device=model.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that a search without sampling does not read
            found = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=_config(row),
                stopping_criteria=StoppingCriteriaList([_Between(row, meanwhile)]),
            )
    for token in found[0, prompt.shape[1] :].tolist():
        if row.left():
            return
        row.say(token)
    row.finish("length")


def _nothing() -> None:
    """Nobody may go on meanwhile."""


def _config(row: Row) -> GenerationConfig:
    how, drawn = row.sampling, row.sampling.temperature > 0
    ends = sorted(row.ends) or None
    return GenerationConfig(
        num_beams=row.beams,
        do_sample=drawn,
        temperature=how.temperature if drawn else 1.0,
        top_p=how.top_p,
        top_k=how.top_k,
        min_p=how.min_p or None,
        repetition_penalty=how.repetition_penalty,
        max_new_tokens=row.room,
        eos_token_id=ends,
        pad_token_id=ends[0] if ends else 0,
    )
