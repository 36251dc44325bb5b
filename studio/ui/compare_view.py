"""Two runs side by side: what came out, how both learnt, and what was set differently. Rows in, markup out."""

from collections.abc import Callable, Iterable, Sequence

from studio.core.config.difference import difference, value_words
from studio.core.stores.runs import Run
from studio.core.stores.series import Series
from studio.ui import live
from studio.ui.charts import Line, chart, finite, smooth
from studio.ui.going import address
from studio.ui.markup import Markup, Text, cardhead, join, link, moment, muted, state
from studio.ui.run_curves import best_eval, reach
from studio.ui.units import UNKNOWN, count, duration, figure, gib, percent

LETTERS = ("A", "B")
CURVES = ("loss", "eval_loss")
Row = tuple[Text, Text, Text, str]  # its name, what it is of A and of B, and what more is to be said of B
Words = Callable[[float], str]


def choice_words(run: Run) -> str:
    """A run among others, which may be called the same: its name, its state, and when it was."""
    at = run.ended_at or run.started_at or run.created_at
    return f"{run.name[:60]} ({run.state}, {moment(at)})"


def loss_chart(first: dict[str, Series], second: dict[str, Series]) -> Markup:
    """Both losses and both checks on held-out examples in one chart."""
    lines = []
    for letter, series, solid, dashed in ((LETTERS[0], first, "s1", "s2"), (LETTERS[1], second, "s3", "s4")):
        trained = series["loss"]
        lines += [
            Line(f"{letter} training", smooth(trained, reach(trained)), solid),  # type: ignore[arg-type]
            Line(f"{letter} held out", series["eval_loss"], dashed),  # type: ignore[arg-type]
        ]
    return chart("Loss", lines)


def outcomes(runs: Sequence[Run], series: Sequence[dict[str, Series]], speeds: Sequence[float | None]) -> Markup:
    """What came out of both; what neither has is left out."""
    names = (Markup("{} {}").format(letter, link(run.name, address("/run", id=run.id)))
             for letter, run in zip(LETTERS, runs, strict=True))  # fmt: skip
    rows: list[Row] = [
        ("State", state(runs[0].state), state(runs[1].state), ""),
        *plain("Result", [live.result_words(run) for run in runs]),
        *plain("Step", [f"{run.step:,} of {run.steps:,}" if run.steps else "" for run in runs]),
        *row("Loss at the end", [last(one["loss"]) for one in series], short),
        *row("Best held-out loss", [lowest(one["eval_loss"]) for one in series], short),
        *row("Base model's held-out loss", [live.scores(run, "loss")[0] for run in runs], short),
        *row("Exactly right", [live.scores(run, "exact_match")[1] for run in runs], percent),
        *row("Speed", speeds, lambda value: f"{figure(value, 0)} tokens/s"),
        *row("Memory at most", [live.most_memory(run) for run in runs], gib),
        *row("Took", [took_of(run) for run in runs], duration),
        *row("Examples learnt from", [live.number_of(run.result, "examples") for run in runs], count),
    ]
    return cardhead("What came out") + table("Outcomes of both runs", ["", *names], rows)


def settings(runs: Sequence[Run]) -> Markup:
    """What was set differently; the same is not listed."""
    first, second = runs
    rows: list[Row] = []
    if first.base_repo != second.base_repo or first.base_revision != second.base_revision:
        rows.append(("Base model", live.base_name(first), live.base_name(second), same_name(first, second)))
    if first.dataset_version_id != second.dataset_version_id:
        version = "another version" if first.dataset_name == second.dataset_name else ""
        rows.append(("Dataset", first.dataset_name, second.dataset_name, version))
    rows += [
        (one.knob.label, value_words(one.knob, one.before), value_words(one.knob, one.after), "")
        for one in difference(first.config, second.config)
        if one.knob.path not in ("base.repo", "base.revision")
    ]
    if not rows:
        return cardhead("What was set differently") + muted("Nothing: both runs were set the same.")
    return cardhead("What was set differently") + table("Settings that differ", ["Setting", *LETTERS], rows)


def same_name(first: Run, second: Run) -> str:
    """What tells two base models apart that are called the same."""
    return "another revision or folder" if live.base_name(first) == live.base_name(second) else ""


def table(caption: str, names: Sequence[Text], rows: Iterable[Row]) -> Markup:
    """Rows of three cells, the first one the row's name."""
    top = join(Markup('<th scope="col">{}</th>').format(name) for name in names)
    line = Markup('<tr><th scope="row">{}</th><td>{}</td><td>{}{}</td></tr>')
    drawn = join(
        line.format(name, first, second, Markup("<br><small>{}</small>").format(more) if more else "")
        for name, first, second, more in rows
    )
    return Markup(
        '<table class="ts-numbers"><caption class="ts-unseen">{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    ).format(caption, top, drawn)


def plain(name: str, words: Sequence[str]) -> list[Row]:
    """A row of words, where one of the runs has some."""
    return [(name, words[0], words[1], "")] if any(words) else []


def row(name: str, values: Sequence[float | None], words: Words) -> list[Row]:
    """A row of figures with their difference, where one of the runs has one."""
    if all(value is None for value in values):
        return []
    shown = [UNKNOWN if value is None else words(value) for value in values]
    return [(name, shown[0], shown[1], off(*values))]


def off(first: float | None, second: float | None) -> str:
    """ "12% less than A", "as A", "3 times A"; empty where there is nothing to compare with."""
    if first is None or second is None or first <= 0 or second < 0:
        return ""
    share = second / first
    if abs(share - 1) < 0.005:
        return "as A"
    if share >= 2:
        return f"{share:.3g} times A"
    return f"{abs(share - 1):.0%} {'more' if share > 1 else 'less'} than A"


def short(value: float) -> str:
    """A loss."""
    return figure(value, 3)


def last(points: Series) -> float | None:
    """The loss at the end, its noise taken off."""
    calm = smooth(points, reach(points))
    return calm[-1][1] if calm else None


def lowest(points: Series) -> float | None:
    """The best check's loss, the base model's left out."""
    best = best_eval(finite(points))  # type: ignore[arg-type]
    return best[1] if best else None


def took_of(run: Run) -> float | None:
    """Seconds of the attempt that ended it."""
    return run.ended_at - run.started_at if run.ended_at and run.started_at else None
