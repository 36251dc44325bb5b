"""What is told while training runs: metrics in batches, progress, events; and the look whether a stop is asked."""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studio.core.operations import Work
from worker.trainer import lifeline
from worker.trainer.job import Reporter, StopAsked, TrainingFailed, Yielded
from worker.trainer.lookout import Lookout
from worker.trainer.samples import Sampler
from worker.trainer.saving import Saver

log = logging.getLogger("tunesmith.trainer")
FLUSH_SECONDS = 1.0
FLUSH_ROWS = 50
LOOK_SECONDS = 1.0
NAMES = ("loss", "eval_loss", "learning_rate", "grad_norm", "epoch", "mean_token_accuracy",
    "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
    "eval_rewards/margins", "eval_rewards/accuracies",
)  # fmt: skip
Clock = Callable[[], float]


def memory_held() -> float:
    """Bytes that the run holds now: of the accelerator where it trains on one, else of main memory."""
    if torch.cuda.is_available():
        return float(torch.cuda.memory_reserved())
    return float(psutil.Process().memory_info().rss)


class StopLook:
    """Asked again and again: has SIGTERM come, and, at most once a second, does the person want to stop?"""

    def __init__(self, reporter: Reporter, yielding: Callable[[], bool] = bool, clock: Clock = time.monotonic) -> None:
        """The first look at the records is at once. `yielding` says whether SIGTERM came."""
        self._reporter, self._yielding, self._clock, self._next = reporter, yielding, clock, -math.inf

    def __call__(self) -> None:
        """Raise `Yielded` or `StopAsked` where one is wanted. It is also the pulse that the supervisor hears."""
        lifeline.pulse()
        if self._yielding():
            raise Yielded
        if self._clock() >= self._next:
            self._next = self._clock() + LOOK_SECONDS
            if self._reporter.stop_wanted():
                raise StopAsked


class Meter:
    """Sums since the last log: tokens, learnt tokens, right guesses, seconds of training without the checks."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """Begins with empty sums."""
        self._clock = clock
        self.work: Work | None = None  # with `gflops`, the measured speed: known once the model is loaded
        self.gflops = 0.0
        self.learnt_in_all = self._pending = 0
        self._loss: list[torch.Tensor] = []
        self._reset()
        self.begin_step()
        self.resume()

    def _reset(self) -> None:
        self._tokens, self._room, self._learnt, self._seconds, self._waited = 0, 0, 0, 0.0, 0.0
        self._correct: list[torch.Tensor] = []

    def resume(self) -> None:
        """Time counts from now on."""
        self._mark = self._clock()

    def begin_step(self) -> None:
        """From here on `undo_step` leads back to."""
        sums = (self._tokens, self._room, self._learnt, self._pending)
        self._begun = (sums, len(self._correct), len(self._loss))

    def undo_step(self) -> None:
        """Forget the micro-batches since `begin_step`: they are done again."""
        sums, correct, loss = self._begun
        self._tokens, self._room, self._learnt, self._pending = sums
        del self._correct[correct:], self._loss[loss:]

    def batch(self, tokens: int, room: int = 0) -> None:
        """A micro-batch with so many tokens, padding left out; `room` counts it with padding (0: there is none)."""
        self._tokens += tokens
        self._room += room or tokens

    def waited(self, seconds: float) -> None:
        """So long a step's examples were waited for."""
        self._waited += seconds

    def scored(self, learnt: int, correct: torch.Tensor | None) -> None:
        """So many learnt tokens, of which so many were guessed right (None: not known)."""
        self._learnt += learnt
        self._pending += learnt
        self._correct += [] if correct is None else [correct]

    def loss(self, loss: torch.Tensor) -> None:
        """The share of one micro-batch in the loss of its step."""
        self._loss.append(loss.detach())

    def take_loss(self) -> float:
        """The loss of the step so far; the next step begins at 0."""
        total = float(torch.stack(self._loss).sum()) if self._loss else 0.0
        self._loss.clear()
        return total

    def step(self) -> None:
        """A step has ended."""
        now = self._clock()
        self._seconds, self._mark = self._seconds + now - self._mark, now
        self.learnt_in_all, self._pending = self.learnt_in_all + self._pending, 0

    def take(self) -> dict[str, float]:
        """Speeds and accuracy since the last call."""
        seconds = max(self._seconds, 1e-9)
        found = {"tokens_per_s": self._tokens / seconds, "learnt_tokens_per_s": self._learnt / seconds}
        found |= {"padding_share": 1 - self._tokens / max(1, self._room), "data_wait_share": self._waited / seconds}
        share = self.work.share(self._tokens, self._learnt, seconds, self.gflops) if self.work else None
        if share is not None:
            found["matmul_share"] = share
        if self._learnt and self._correct:
            found["mean_token_accuracy"] = float(torch.stack(self._correct).sum()) / self._learnt
        self._reset()
        return found


class Points:
    """Metrics on their way to the records: written once a second or at 50 rows, whichever comes first."""

    def __init__(self, reporter: Reporter, clock: Clock = time.monotonic) -> None:
        """Nothing is written before the first second is over."""
        self._reporter, self._clock = reporter, clock
        self._rows: list[tuple[int, str, float]] = []
        self._progress: tuple[int, int] | None = None
        self._last = clock()

    def add(self, step: int, values: dict[str, float]) -> None:
        """Keep the finite ones: the records hold no NaN."""
        self._rows += [(step, name, float(value)) for name, value in values.items() if math.isfinite(value)]
        if len(self._rows) >= FLUSH_ROWS:
            self.flush()

    def progress(self, step: int, steps: int) -> None:
        """Where the run is."""
        first = self._progress is None
        self._progress = (step, steps)
        if first or self._clock() - self._last >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all now."""
        rows, self._rows, self._last = self._rows, [], self._clock()
        self._reporter.metrics(rows)
        if self._progress is not None:
            self._reporter.progress(*self._progress)


class Watch(TrainerCallback):
    """The trainer's eyes: everything that is told about a run while it trains."""

    def __init__(self, reporter: Reporter, meter: Meter, look: StopLook, saver: Saver, began: float) -> None:
        """`began` is when the attempt began (`time.monotonic`), for the time to the first step."""
        self._reporter, self._meter, self._look, self._began = reporter, meter, look, began
        self._saver = saver
        self.points, self.lookout = Points(reporter), Lookout(reporter)
        self.sampler: Sampler | None = None
        self.after_first_step: Callable[[], None] | None = None  # what need not keep the first step waiting

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The number of steps is known now."""
        self._reporter.progress(state.global_step, state.max_steps)
        self.lookout.begin(state.max_steps)
        self._saver.began()
        self._meter.resume()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Before the first micro-batch of a step."""
        self._look()
        if state.global_step == 0:
            self._reporter.event("note", "First step begins", f"{time.monotonic() - self._began:.1f} s after the start")

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Between two micro-batches of a step."""
        self._look()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The last moment at which a broken gradient can be kept out of the weights."""
        loss = self._meter.take_loss()
        if not math.isfinite(loss):
            raise self.diverged(f"The loss became {loss} at step {state.global_step + 1:,}.")

    def diverged(self, problem: str) -> TrainingFailed:
        """The failure, with the newest checkpoint that is still good named."""
        last = self._saver.last_step
        kept = f"Its last good checkpoint is that of step {last:,}." if last else "There was no checkpoint before it."
        return TrainingFailed("diverged", f"{problem} {kept}", "Take a lower learning rate.")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step is in the weights."""
        self._meter.step()
        self._saver.step_ended()
        control.should_save = self._saver.is_due()
        if self.after_first_step is not None:
            after, self.after_first_step = self.after_first_step, None
            after()
            self._meter.resume()
        self.points.progress(state.global_step, state.max_steps)
        if state.global_step == 1:
            seconds = time.monotonic() - self._began
            self._reporter.event("note", "First step", f"{seconds:.1f} s after the start")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Values of a step, or of a check on the held-out examples."""
        values = {name: value for name, value in (logs or {}).items() if name in NAMES}
        if "eval_loss" in values:
            self.points.add(state.global_step, {name: values[name] for name in values if name.startswith("eval_")})
            self.lookout.heard(state.global_step, values)
            log.info("step %d held-out loss %.4f", state.global_step, values["eval_loss"])
        elif "loss" in values:
            values |= self._meter.take() | {"memory_bytes": memory_held()}
            self.points.add(state.global_step, values)
            self.lookout.heard(state.global_step, values)
            if not math.isfinite(values.get("grad_norm", 0.0)):
                words = f"The gradient became {values['grad_norm']} at step {state.global_step:,}."
                raise self.diverged(words)
            log.info("step %d loss %.4f lr %.2g", state.global_step, values["loss"], values["learning_rate"])

    def tell(self, kind: str, title: str, detail: str = "") -> None:
        """An entry of the timeline."""
        self._reporter.event(kind, title, detail)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A check is over: a few prompts are answered. That time is not the training's either."""
        if self.sampler is not None:
            self.sampler.check(state.global_step)
        self._meter.resume()

    def less_room(self, before: int, now: int) -> None:
        """The memory was not enough, and a step is done again in smaller parts."""
        words = f"It reads {now:,} tokens at once now, not {before:,}. Each step has the same examples as before."
        self._reporter.event("warning", "The memory was not enough", words)

    def base_checked(self, loss: float) -> None:
        """The base model's held-out loss: where the curve begins, at step 0."""
        self._reporter.event("eval", "Base model checked on held-out examples", f"Loss {loss:.4f}")
        self.points.add(0, {"eval_loss": loss})
        self.lookout.heard(0, {"eval_loss": loss})

    def checked(self, step: int, loss: float, seconds: float) -> None:
        """A check on the held-out examples has ended; its time is not the training's."""
        self._meter.resume()
        self._reporter.event(
            "eval", "Checked on held-out examples", f"Step {step}: loss {loss:.4f}, in {seconds:.1f} s"
        )
