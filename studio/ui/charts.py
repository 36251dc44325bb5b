"""Charts as SVG: words as HTML around lines that stretch to the box, coloured by the tokens, a table beneath.

Values that are not finite break the line and are left out of the table; an empty series draws nothing; at most 600
points a line are drawn, the extremes of each stretch kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from studio.ui.markup import Text, empty, join, more
from studio.ui.units import figure

Point = tuple[float, float]
MOST_POINTS = 600
MOST_HITS = 40
MOST_ROWS = 12


@dataclass(frozen=True)
class Line:
    """One series: (step, value) in order of steps. "s2" is dashed with dots (for few points), "s3" plain in another
    colour, "s4" dotted, "s1 raw" thin; nameless is drawn only."""

    name: str
    points: Sequence[Point]
    kind: Literal["s1", "s2", "s3", "s4", "s1 raw"] = "s1"


@dataclass(frozen=True)
class Axes:
    """The box of a plot: steps 0 to `end`, values `low` to `top` with a tick each `y_step`."""

    end: float
    low: float
    top: float
    y_step: float

    def place(self, point: Point) -> str:
        """A point in the 1000 by 1000 box."""
        return f"{point[0] / self.end * 1000:.1f} {self.height(point[1]) * 1000:.1f}"

    def height(self, value: float) -> float:
        """How far below the top a value stands, 0 to 1."""
        return 1 - (value - self.low) / (self.top - self.low)

    def ticks(self) -> list[float]:
        """The values with a grid line, from below."""
        return [self.low + i * self.y_step for i in range(round((self.top - self.low) / self.y_step) + 1)]


def nice(top: float, parts: int) -> float:
    """A round distance between ticks, so that about `parts` of them reach `top`. `top` above 0."""
    power = 10.0 ** math.floor(math.log10(top / parts))
    return next((m * power for m in (1, 2, 2.5, 5) if m * power * parts >= top * 0.999), 10 * power)


def smooth(points: Sequence[Point], reach: int = 4) -> list[Point]:
    """A centred mean over `2 * reach + 1` points, so that the line does not lag; values not finite stay out of it."""
    known = finite(points)
    windows = ((x, known[max(0, i - reach) : i + reach + 1]) for i, (x, _) in enumerate(known))
    return [(x, sum(y for _, y in near) / len(near)) for x, near in windows]


def finite(points: Sequence[Point]) -> list[Point]:
    """The points whose value is a number that can be drawn."""
    return [(x, y) for x, y in points if math.isfinite(y) and abs(y) < 1e30]


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` of the points: of each stretch its lowest and highest (a gap where it has one), and the ends."""
    if len(points) <= most:
        return list(points)
    inner, stretches = points[1:-1], max(1, (most - 2) // 2)
    kept = [points[0]]
    for i in range(stretches):
        part = inner[i * len(inner) // stretches : (i + 1) * len(inner) // stretches]
        known = finite(part) or part[:1]
        kept += sorted({min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])})
    return [*kept, points[-1]]


def scaled(lines: Sequence[Line]) -> tuple[list[Line], float]:
    """The lines divided by a power of ten where their values are too small or too big to be read, and that power."""
    top = max((abs(y) for line in lines for _, y in finite(line.points)), default=0.0)
    if not top or 0.01 <= top < 1e6:
        return list(lines), 1
    power = 10.0 ** math.floor(math.log10(top))
    return [Line(line.name, [(x, y / power) for x, y in line.points], line.kind) for line in lines], power


def stretches(points: Sequence[Point]) -> list[list[Point]]:
    """The line cut where a value is not finite."""
    parts: list[list[Point]] = [[]]
    for point in points:
        if finite([point]):
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def axes(lines: Sequence[Line], end: float) -> Axes:
    """The box that holds all lines; from 0 where no value is below it."""
    known = [point for line in lines for point in finite(line.points)]
    values = [0.0, *(y for _, y in known)]
    low, top = min(values), max(values)
    if top == low:
        top = low + 1.0
    step = nice(top - low, 4)
    low, top = math.floor(low / step + 0.001) * step, math.ceil(top / step - 0.001) * step
    return Axes(max([end, 1.0, *(x for x, _ in known)]), low, top, step)


def path(points: Sequence[Point], box: Axes, kind: str) -> Markup:
    """One line, with gaps; a point alone becomes a dot, and "s2" has a dot at each."""
    parts = stretches(thin(points))
    lines = "".join("M" + "L".join(map(box.place, part)) for part in parts)
    alone = "".join(f"M{box.place(p)}h0" for part in parts for p in part if kind == "s2" or len(part) == 1)
    drawn = Markup('<path class="line {}" d="{}"/>').format(kind, lines) if lines else Markup("")
    if alone and kind == "s2":
        drawn += Markup('<path class="dots" d="{}"/>').format(alone)
    elif alone:
        drawn += Markup('<path class="line {}" stroke-linecap="round" style="stroke-width:5" d="{}"/>').format(
            kind, alone
        )
    return drawn


def values_by_step(lines: Sequence[Line]) -> dict[float, dict[str, float]]:
    """Each step with the value of each named line there, or its latest before."""
    at: dict[float, dict[str, float]] = {}
    for line in lines:
        for x, y in finite(thin(line.points)):
            at.setdefault(x, {})[line.name] = y
    latest: dict[str, float] = {}
    for x in sorted(at):
        latest |= at[x]
        at[x] = dict(latest)
    return {x: at[x] for x in sorted(at)}


def legend(lines: Sequence[Line], digits: int | None) -> Markup:
    """Each named line with its swatch and its last value."""
    row = Markup(
        '<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="line {}" d="M0 4H24"/></svg>{}<b>{}</b></li>'
    )
    return join(row.format(line.kind, line.name, figure(finite(line.points)[-1][1], digits)) for line in lines)


def hits(at: dict[float, dict[str, float]], end: float, digits: int | None) -> Markup:
    """Stripes over the plot that show the values at a touch."""
    steps = list(at)
    picked = steps[:: max(1, math.ceil(len(steps) / MOST_HITS))]
    following = 2 * picked[-1] - picked[-2] if len(picked) > 1 else picked[-1] + end / 20
    row = Markup('<i style="left:{:.2%};width:{:.2%}"{}><b>Step {:,.0f} · {}</b></i>')
    flip = Markup(' class="flip"')
    return join(
        row.format(
            a / end,
            (b - a) / end,
            flip if a > end * 0.55 else "",
            a,
            " · ".join(f"{name} {figure(value, digits)}" for name, value in at[a].items()),
        )
        for a, b in pairwise([*picked, following])
    )


def table(title: Text, lines: Sequence[Line], at: dict[float, dict[str, float]], digits: int | None) -> Markup:
    """The numbers as a table, newest first, at the steps of the rarest line."""
    rarest = min((finite(line.points) for line in lines), key=len)
    steps = [x for x, _ in rarest if x in at] if len(lines) > 1 else list(at)
    steps = steps[:: -max(1, math.ceil(len(steps) / MOST_ROWS))]
    cell, top = Markup("<td>{}</td>"), Markup('<th scope="col">{}</th>')
    rows = join(
        Markup("<tr><td>{:,.0f}</td>{}</tr>").format(
            x, join(cell.format(figure(at[x].get(line.name), digits)) for line in lines)
        )
        for x in steps
    )
    header = join(top.format(name) for name in ["Step", *(line.name for line in lines)])
    return Markup(
        '<table class="ts-numbers"><caption>{}, newest first</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
    ).format(title, header, rows)


def labels(box: Axes) -> tuple[Markup, Markup, Markup]:
    """The grid, the words at its left and the words below it."""
    ticks, x_step = box.ticks(), max(1.0, nice(box.end, 5))
    base = min(ticks, key=abs)
    grid = join(
        Markup('<path class="grid{}" d="M0 {:.0f}H1000"/>').format(" base" if y == base else "", box.height(y) * 1000)
        for y in ticks
    )
    digits = 0 if box.y_step >= 1 else len(f"{box.y_step:.10f}".rstrip("0")) - 2
    places = digits if digits <= 4 else None
    ticks = [y if abs(y) > box.y_step / 2 else 0.0 for y in ticks]  # no -0.00
    left = join(Markup('<span style="top:{:.2%}">{}</span>').format(box.height(y), figure(y, places)) for y in ticks)
    steps = [i * x_step for i in range(int(box.end / x_step + 0.001) + 1)]
    below = join(
        Markup('<span style="left:{:.2%}"{}>{:,.0f}</span>').format(
            x / box.end, Markup(' class="end"') if x > box.end * 0.96 else "", x
        )
        for x in steps
    )
    return grid, left, below


def flag(best: float, end: float) -> Markup:
    """A dashed upright at the best step; nothing for 0 or a step beyond the plot."""
    if not 0 < best <= end:
        return Markup("")
    flip = Markup(' class="flip"') if best > end * 0.8 else ""
    return Markup('<em style="left:{:.2%}"{}><span>Best, step {:,.0f}</span></em>').format(best / end, flip, best)


def chart(
    title: Text, lines: Sequence[Line], end: float = 0, *, height: int = 240, best: float = 0, digits: int | None = 2
) -> Markup:
    """Lines over steps. `end` is the run's last step, so the empty part is what is still to come (0: up to the data).

    `height` in pixels; `best` marks a step; `digits` are decimals of the values, None for three significant figures.
    Without any value it is an empty place that says so.
    """
    named = [line for line in lines if line.name and finite(line.points)]
    if not named:
        return empty(title, "Drawn as soon as the first step is done.")
    lines, power = scaled(lines)
    named = [line for line in lines if line.name and finite(line.points)]
    title = title if power == 1 else title + Markup(" <small>× {:,g}</small>").format(power)
    box = axes(lines, end)
    grid, left, below = labels(box)
    at = values_by_step(named)
    drawn = grid + join(path(line.points, box, line.kind) for line in lines)
    spoken = title.striptags() if isinstance(title, Markup) else title
    return Markup(
        '<figure class="ts-chart"><figcaption><h2>{}</h2><ul>{}</ul></figcaption>'
        '<div class="plot" style="height:{}px"><div class="y" aria-hidden="true">{}</div>'
        '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img"'
        ' aria-label="{} by step. The table below has the numbers.">{}</svg>'
        '{}<div class="hits" aria-hidden="true">{}</div></div><div class="x" aria-hidden="true">{}</div>{}</figure>'
    ).format(
        title,
        legend(named, digits),
        height,
        left,
        spoken,
        drawn,
        flag(best, box.end),
        hits(at, box.end, digits),
        below,
        more("Show the numbers", table(title, named, at, digits)),
    )


def sparkline(points: Sequence[Point], end: float, name: str = "Loss") -> Markup:
    """A small line without words, for a card; empty markup without values."""
    known = finite(points)
    if not known:
        return Markup("")
    points = smooth(known, 2) if len(known) > 20 else known
    box = axes([Line(name, points)], end)
    drawn = path(points, box, "s1")
    return Markup(
        '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="{} so far, now {}">'
        '<path class="grid" d="M0 995H1000"/>{}</svg>'
    ).format(name, figure(known[-1][1], 2), drawn)
