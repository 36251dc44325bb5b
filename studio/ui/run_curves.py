"""The charts of a run, each with its unit and its table; and what its curves say in words. Pure."""

from collections.abc import Callable, Iterable

from studio.core.alarms import Alarm
from studio.core.stores.runs import Event
from studio.core.stores.series import Series
from studio.ui.charts import Line, chart, finite, smooth
from studio.ui.markup import NOTHING, Markup, Text, empty, join, more, note
from studio.ui.units import GIB

METRICS = (
    "loss", "eval_loss", "learning_rate", "tokens_per_s", "learnt_tokens_per_s", "mean_token_accuracy", "grad_norm",
    "matmul_share", "padding_share", "data_wait_share", "memory_bytes",
)  # fmt: skip
SMALL_METRICS = ("tokens_per_s", "mean_token_accuracy", "learning_rate", "grad_norm")
SMALL = 104
SAID_BY_TRAINER = "alarm:no_end"  # what no curve shows


def best_eval(evals: Series) -> tuple[int, float] | None:
    """The step with the lowest held-out loss, and that loss. Step 0 is the base model's and does not count."""
    known = [(step, value) for step, value in finite(evals) if step > 0]
    if not known:
        return None
    step, value = min(known, key=lambda point: point[1])
    return int(step), value


def left_behind(evals: Series) -> int:
    """The step of the best check where a later one was worse; 0 where the last check is the best, or none was made."""
    best = best_eval(evals)
    return best[0] if best and best[0] < evals[-1][0] else 0


def charts(series: dict[str, Series], end: float) -> tuple[Markup, Markup]:
    """The loss; and the small charts, those of the machine folded. `end` is the last step, 0 where it is over."""
    if not any(finite(series[name]) for name in SMALL_METRICS):
        return loss(series, end), empty("Speed and more", "Drawn as soon as the first step is done.")
    small = pairs(draw(series, end) for draw in (speed, accuracy, rate, gradient))
    return loss(series, end), small + machine(series, end)


def pairs(drawn: Iterable[Markup]) -> Markup:
    """Small charts two by two where there is room."""
    return Markup('<div class="ts-pairs">{}</div>').format(join(drawn))


def loss(series: dict[str, Series], end: float) -> Markup:
    """Training and held out, with the best step where it is past."""
    trained, evals = series["loss"], series["eval_loss"]
    flag = left_behind(evals) if len(evals) > 2 else 0
    lines = [
        Line("", trained, "s1 raw"),
        Line("Training", smooth(trained, reach(trained)), "s1"),
        Line("Held out", evals, "s2"),
    ]
    return chart("Loss", lines, end, best=flag)


def speed(series: dict[str, Series], end: float) -> Markup:
    """Tokens a second, read and learnt."""
    read, learnt = series["tokens_per_s"], series["learnt_tokens_per_s"]
    lines = [Line("Read", read), Line("Learnt", learnt, "s3")]
    return chart(titled("Speed", "tokens/s", read), lines, end, height=SMALL, digits=0)


def accuracy(series: dict[str, Series], end: float) -> Markup:
    """How many of the learnt tokens the model would have chosen itself."""
    points = scaled(series["mean_token_accuracy"], percent)
    return chart(titled("Tokens guessed right", "%", points), calm(points), end, height=SMALL, digits=1)


def rate(series: dict[str, Series], end: float) -> Markup:
    """The learning rate."""
    points = scaled(series["learning_rate"], lambda value: value * 1e4)
    return chart(titled("Learning rate", "× 0.0001", points), [Line("Now", points)], end, height=SMALL)


def gradient(series: dict[str, Series], end: float) -> Markup:
    """The length of the whole gradient, before it is clipped."""
    return chart("Gradient norm", calm(series["grad_norm"]), end, height=SMALL)


def machine(series: dict[str, Series], end: float) -> Markup:
    """What the machine does with its time and memory; nothing where none of it was measured."""
    parts = (
        ("Share of the matrix speed", "%", scaled(series["matmul_share"], percent), 0),
        ("Padding", "% of all that is read", scaled(series["padding_share"], percent), 1),
        ("Waiting for data", "% of the time", scaled(series["data_wait_share"], percent), 1),
        ("Memory", "GiB", scaled(series["memory_bytes"], lambda size: size / GIB), 2),
    )
    drawn = [
        chart(titled(title, unit, points), calm(points), end, height=SMALL, digits=digits)
        for title, unit, points, digits in parts
        if finite(points)
    ]
    return more("How the machine is used", pairs(drawn)) if drawn else NOTHING


def calm(points: Series, name: str = "Now") -> list[Line]:
    """A noisy series as a thin line, with its mean over neighbours."""
    return [Line("", points, "s1 raw"), Line(name, smooth(points, reach(points)))]


def reach(points: Series) -> int:
    """Over how many neighbours a line is smoothed: a short one hardly, or its ends would be far from what was seen."""
    return min(4, len(points) // 12)


def percent(share: float) -> float:
    """A share of 1 in hundredths."""
    return 100 * share


def scaled(points: Series, to: Callable[[float], float]) -> Series:
    """The values in the chart's unit."""
    return [(step, to(value)) for step, value in points]


def titled(title: str, unit: str, points: Series) -> Text:
    """The title of a chart with its unit, where there is something to measure."""
    return Markup("{} <small>{}</small>").format(title, unit) if finite(points) else title


def alarm_notes(found: list[Alarm], events: list[Event]) -> Markup:
    """What the curves say, and what the trainer found before there were any."""
    told = [(event.title, event.detail) for event in events if event.kind == SAID_BY_TRAINER]
    return join(note("warn", title, text) for title, text in [*((one.title, one.text) for one in found), *told])
