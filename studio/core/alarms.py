"""What a run's curves say that a person should know while there is still time: in words, with a way out. Pure.

Every rule compares medians over a window and asks for more than the noise of the curve itself, so that one odd step
says nothing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

Kind = Literal["few_steps", "nothing_learnt", "diverging", "flat", "overfitting", "no_end"]
Points = Sequence[tuple[int, float]]

CURVES = ("loss", "eval_loss", "grad_norm")  # the metrics that are read
FEWEST_STEPS = 10
FIRST_LOOK = 12  # points of the loss before any rule reads it
FLAT_LOOK, FLAT_SHARE = 20, 0.3  # points and share of the run before a flat loss is one
SAME = 0.01  # of a loss: what is nearer counts as equal
KNOWN_ALREADY = 0.05  # a loss below it has nowhere to fall
HARMED = 0.1  # of the base model's held-out loss: beyond it something was learnt, and the wrong thing
RISES, WORSE = 2, 0.02  # checks in a row that are worse than the best one, each by this share
LASTING = 5  # points in a row that stand above where the loss began


@dataclass(frozen=True)
class Alarm:
    """One thing to know: `title` says what is so, `text` what it means or what helps. `step` is where it began."""

    kind: Kind
    title: str
    text: str
    step: int = 0


def alarms(series: Mapping[str, Points], steps: int, ended: bool = False) -> list[Alarm]:
    """Everything to be said of a run with `steps` steps in all (0: not known yet), the gravest first.

    `series` are its metrics by name; the held-out loss of step 0 is the base model's.
    """
    loss, checks = _finite(series.get("loss", ())), _finite(series.get("eval_loss", ()))
    raised = [
        *_diverging(loss),
        *_nothing_learnt(_finite(series.get("grad_norm", ())), checks, ended),
        *_overfitting(loss, checks),
    ]
    found = list({one.kind: one for one in reversed(raised)}.values())[::-1]  # of each kind the first
    if not found:
        found += _flat(loss, checks, steps)
    return [*found, *few_steps(steps)]


def few_steps(steps: int) -> list[Alarm]:
    """A run with so few steps that little can come of it; `steps` 0 is not known yet."""
    if not 0 < steps < FEWEST_STEPS:
        return []
    title = f"Only {steps} step{'' if steps == 1 else 's'} in all"
    text = "Little can be learnt in so few. More epochs, more examples or fewer examples per step make more of them."
    return [Alarm("few_steps", title, text)]


def no_end(examples: int) -> Alarm:
    """None of the `examples` teaches an end of turn."""
    text = (
        "The end-of-turn token is never learnt, so the tuned model may go on for ever. Let longer examples be left out "
        "instead of cut, or use a model whose template closes each answer."
    )
    return Alarm("no_end", f"None of {examples:,} examples teaches when to stop", text)


def _finite(points: Points) -> list[tuple[int, float]]:
    return [(step, value) for step, value in points if math.isfinite(value)]


@dataclass(frozen=True)
class _Trend:
    """The loss at the start, at its best and now, each a median over a window; `noise` is what they vary by chance."""

    start: float
    best: float
    best_step: int
    now: float
    noise: float


def _trend(loss: Points) -> _Trend:
    """Needs `FIRST_LOOK` points."""
    values, width = [value for _, value in loss], max(5, min(25, len(loss) // 8))
    windows = [median(values[i : i + width]) for i in range(len(values) - width + 1)]
    lowest = min(range(len(windows)), key=windows.__getitem__)
    jumps = median(abs(b - a) for a, b in pairwise(values))
    noise = 1.3 * jumps / math.sqrt(width)  # a median's error, from the middle jump between two neighbours
    return _Trend(windows[0], windows[lowest], loss[lowest + width // 2][0], windows[-1], noise)


def _diverging(loss: Points) -> Iterator[Alarm]:
    """Above where it began, or most of what was gained is lost again."""
    if len(loss) < FIRST_LOOK:
        return
    seen = _trend(loss)
    lowest = min(value for _, value in loss[-LASTING:])
    above = seen.now > 1.2 * seen.start + 0.1 and min(lowest, seen.now - 4 * seen.noise) > seen.start
    lost = seen.now > 2 * seen.best + 0.3 and min(lowest, seen.now - 6 * seen.noise) > 1.5 * seen.best
    if not above and not lost:
        return
    title = f"The loss is rising: {seen.best:.2f} about step {seen.best_step:,}, {seen.now:.2f} now"
    text = "It is diverging. A quarter of the learning rate, or a longer warm-up, usually holds it."
    yield Alarm("diverging", title, text, seen.best_step)


def _nothing_learnt(norms: Points, checks: Points, ended: bool) -> Iterator[Alarm]:
    """No gradient at all; or at the end no better than the base model."""
    if len(norms) >= 3 and all(value < 1e-10 for _, value in norms):
        text = "No gradient reaches what is trained. Look at the adapter's layers, its scale and its dropout."
        yield Alarm("nothing_learnt", "Nothing is learnt: every gradient is 0", text, norms[0][0])
    elif ended and len(checks) > 1 and checks[0][0] == 0:
        base, best = checks[0][1], min(value for _, value in checks[1:])
        if best > (1 + HARMED) * base + SAME:
            title = f"It became worse: held-out loss {best:.2f}, the base model's is {base:.2f}"
            text = "The learning rate is probably too high for it. A quarter of it is a fair try."
            yield Alarm("diverging", title, text)
        elif best > (1 - SAME / 2) * base and base > KNOWN_ALREADY:
            title = f"Nothing was learnt: held-out loss {best:.2f}, the base model's is {base:.2f}"
            yield Alarm("nothing_learnt", title, "A higher learning rate, more epochs or other examples may help.")


def _overfitting(loss: Points, checks: Points) -> Iterator[Alarm]:
    """The held-out loss rises check after check while the training loss does not."""
    if len(checks) <= RISES:
        return
    at = min(range(len(checks)), key=lambda i: checks[i][1])
    step, best = checks[at]
    later = [value for _, value in checks[at + 1 :]]
    risen = [value > best * (1 + WORSE) + 0.003 for value in later]
    if len(later) < RISES or not all(risen[-RISES:]) or later[-1] < later[0] * (1 - SAME) or not step:
        return
    before = [value for s, value in loss if s <= step][-10:]
    since = [value for s, value in loss if s > step][-10:]
    if before and since and median(since) > median(before) * (1 + SAME):
        return  # both rise: that is not learning by heart
    title = f"Overfitting since step {step:,}"
    text = (
        f"The held-out loss was {best:.2f} there and is {later[-1]:.2f} now, while the training loss goes on falling: "
        f"it learns by heart. The checkpoint of step {step:,} is the better one."
    )
    yield Alarm("overfitting", title, text, step)


def _flat(loss: Points, checks: Points, steps: int) -> Iterator[Alarm]:
    """After a good part of the run the loss stands where it began."""
    if len(loss) < FLAT_LOOK or (steps and loss[-1][0] < FLAT_SHARE * steps):
        return
    seen = _trend(loss)
    fell = seen.start - seen.now
    better = len(checks) > 1 and checks[-1][1] < checks[0][1] * (1 - 2 * SAME)
    if seen.start < KNOWN_ALREADY or better or abs(fell) > max(2 * SAME * seen.start, seen.noise):
        return
    title = f"The loss has not moved: {seen.start:.2f} at the start, {seen.now:.2f} at step {loss[-1][0]:,}"
    yield Alarm("flat", title, "A higher learning rate usually moves it; ten times as high is a fair try.", loss[0][0])
