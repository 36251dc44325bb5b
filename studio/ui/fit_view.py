"""Whether a run fits: the verdict, the bar of memory with its legend. Values in, markup out."""

from collections.abc import Sequence

from studio.core.estimate.memory import Memory
from studio.core.use_cases.fit import Fit
from studio.ui.markup import NOTHING, Markup, facts, join, more, note
from studio.ui.units import count, gib, gib_of

Part = tuple[str, int, str]
SMALLEST = 1024**2
PARTS = {
    "weights": "Weights of the base model",
    "adapter": "Adapter, now and as it began",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "saved": "Activations kept for the way back",
    "logits": "Logits",
    "scratch": "Scratch",
}


def fit_part(found: Fit | None) -> Markup:
    """The verdict with its bar; nothing where no worker has looked at this machine yet."""
    if found is None:
        return NOTHING
    if found.found is None:
        return measuring(found)
    parts = parts_of(found)
    used, free = sum(size for _, size, _ in parts), found.machine.free
    if used <= free:
        banner = note("good", f"Fits: {gib_of(used, free)}", source(found))
        return join([banner, meter([*parts, ("Left over", free - used, "m0")], free), by_part(found.found)])
    words = f"{gib(used - free)} are missing, struck through below."
    banner = note("bad", f"Does not fit: {gib_of(used, free)}", words)
    return join([banner, meter(parts, free), by_part(found.found)])


def by_part(found: Memory) -> Markup:
    """Every part of the peak, folded."""
    sizes = [(words, getattr(found, name)) for name, words in PARTS.items()]
    rows = [(words, gib(size)) for words, size in sizes if size >= SMALLEST]
    return more("Every part", facts(rows, "ts-facts--rows"))


def measuring(found: Fit) -> Markup:
    """The range that stands until a dry run is there."""
    low, high, free = found.low + found.machine.kept, found.high + found.machine.kept, found.machine.free
    title = range_of(low, high, free)
    bar = meter(range_parts(found), free)
    if found.problem:
        return join([note("plain", f"About {title}", found.problem), bar])
    if low > free:
        return join([note("bad", f"Does not fit: {title}", "Even the least that it can take is too much."), bar])
    words = "It is being counted: a few seconds, up to half a minute after the worker has started."
    return join([note("plain", title, words), bar])


def range_of(low: int, high: int, free: int) -> str:
    """ "1.8 to 3.7 GiB of 19 GiB"."""
    first, last = gib(low), gib(high)
    unit = last.rpartition(" ")[2]
    return f"{first.removesuffix(' ' + unit)} to {last} of {gib(free)}"


def range_parts(found: Fit) -> list[Part]:
    """What is sure, what may come on top, and what is left then."""
    low, high, kept = found.low, max(found.low, found.high), found.machine.kept
    parts = [("At least", low, "m1"), ("Perhaps more", high - low, "m5"), ("Kept free", kept, "m4")]
    left = found.machine.free - high - kept
    return [*parts, ("Left over", left, "m0")] if left > 0 else parts


def source(found: Fit) -> str:
    """What the forecast stands on."""
    runs = found.experience.runs
    if not runs:
        return "Counted by a dry run of the trainer's own code."
    return f"Counted by a dry run, and corrected from {count(runs, 'run')} on this machine."


def parts_of(found: Fit) -> list[Part]:
    """What takes the memory, as people know it."""
    assert found.found is not None
    memory = found.found
    return [
        ("Base model", memory.weights, "m1"),
        ("Adapter and optimizer", memory.trained, "m2"),
        ("Working memory", memory.working, "m3"),
        ("Kept free", found.machine.kept, "m4"),
    ]


def meter(parts: Sequence[Part], free: int) -> Markup:
    """The stacked bar with its legend; what goes beyond `free` is struck through."""
    whole = max(free, sum(size for _, size, _ in parts))
    cell, row = (
        Markup('<span class="{}" style="width:{:.2%}"></span>'),
        Markup('<li><b class="{}"></b>{}<span>{}</span></li>'),
    )
    cells = join(cell.format(kind, size / whole) for _, size, kind in parts)
    if whole > free:
        cells += Markup('<i style="left:{:.2%}"></i>').format(free / whole)
    rows = join(row.format(kind, name, gib(size)) for name, size, kind in parts)
    return Markup('<div class="ts-meter"><div aria-hidden="true">{}</div><ul>{}</ul></div>').format(cells, rows)
