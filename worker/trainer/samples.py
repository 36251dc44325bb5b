"""A few held-out prompts, answered at each check, so that progress can be read and not only measured."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from studio.core.estimate.checks import PROMPT_SHARE, PROMPT_TOKENS, PROMPTS
from studio.core.stores.series import Sample
from worker.trainer.answers import Question

MOST_PROMPT = 512


class Answers(Protocol):
    """Who answers, with the adapter as it stands: `worker.trainer.answers.Answerer`."""

    def answer(self, asked: list[Question]) -> list[str]:
        """The answers in the order of `asked`."""


class Sampler:
    """Asks the model in training, and the base model before it, as long as it costs next to nothing."""

    def __init__(
        self,
        tell: Callable[[int, list[Sample]], None],
        tuned: Answers,
        base: Answers | None,
        asked: list[Question],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` takes the step (0: the base model) and its answers; `base` is None where there is none to ask."""
        self._tell, self._tuned, self._base, self._asked, self._clock = tell, tuned, base, asked, clock
        self._began, self._spent, self._costs, self._steps = clock(), 0.0, 0.0, set[int]()

    def check(self, step: int) -> None:
        """After a check at `step`. Raises what is raised between two batches."""
        if not self._asked:
            return
        self.ask_base(self._base)
        if self._spent + self._costs <= PROMPT_SHARE * (self._clock() - self._began):
            self._costs = self._ask(self._tuned, step)
            self._spent += self._costs

    def last(self, step: int) -> None:
        """What is published, of `step`, answers in any case: it is what the run was for."""
        if self._asked and step not in self._steps:
            self._ask(self._tuned, step)

    def ask_base(self, who: Answers | None) -> None:
        """Let `who` answer as the base model, or nobody; it is not asked again."""
        self._base = None
        if who is not None and self._asked:
            self._costs = self._ask(who, 0)

    def _ask(self, who: Answers, step: int) -> float:
        """Seconds that it took."""
        start = self._clock()
        answers = who.answer(self._asked)
        pairs = zip(self._asked, answers, strict=True)
        self._steps.add(step)
        self._tell(step, [Sample(one.asked, one.reference, answer) for one, answer in pairs])
        return self._clock() - start


def chosen(asked: list[Question]) -> list[Question]:
    """The first few that are short and unlike; where these are too few, the shortest of the others."""
    short = [one for one in asked if len(one.ids) <= MOST_PROMPT and one.reference_tokens <= PROMPT_TOKENS]
    long = sorted((one for one in asked if one not in short), key=lambda one: len(one.ids) + one.reference_tokens)
    unlike = {(one.asked, one.reference): one for one in reversed([*short, *long])}
    first = list(reversed(unlike.values()))[:PROMPTS]
    return [replace(one, reference_tokens=min(one.reference_tokens, PROMPT_TOKENS)) for one in first]
