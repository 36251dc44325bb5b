"""The parts of the first page. Pure: rows and facts in, markup out."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from studio.core.machine import Load
from studio.core.states import ENDED, LIVE
from studio.core.stores.machines import Machine
from studio.core.stores.runs import Run
from studio.core.stores.series import Series
from studio.core.use_cases.line import WAITING
from studio.ui import live
from studio.ui.charts import finite, sparkline
from studio.ui.line_view import Line, paused_note, wait_words
from studio.ui.markup import Markup, Text, bar, cardhead, empty, facts, head, join, link, link_button, note, state, when
from studio.ui.run_view import epochs_of
from studio.ui.units import figure, file_size, gib, gib_of, percent

METRICS = ("loss", "tokens_per_s", "epoch")
MOST_RECENT = 5
MOST_IN_STRIP = 6
NO_ENGINE: Mapping[str, Any] = {}
STEPS = (
    ("Base model", "The starter model, a folder on this machine, or one from the Hub."),
    ("Your data", "CSV, JSONL or JSON. You see what will be learnt before anything runs."),
    ("Start", "Close the laptop. The run goes on without you."),
)


def welcome() -> Markup:
    """One sentence on what this is."""
    return Markup(
        "<h1>Teach a small model your way of doing things</h1><p>Pick a base model, drop in examples, press Start. "
        "Before anything runs you see what will be learnt and how long it takes.</p>"
    )


def lesson(asked: str, answer: str) -> Markup:
    """One held-out example of the starter dataset: what is asked, and what a tuned model should answer."""
    return Markup(
        '<div class="ts-duel"><div><h2>Asked</h2><p>{}</p></div>'
        '<div class="tuned"><h2>What the demo teaches it to answer</h2><p><code>{}</code></p></div></div>'
    ).format(asked, answer)


def steps_list() -> Markup:
    """The three things that a person does."""
    rows = join(Markup("<li><b>{}</b>{}</li>").format(name, words) for name, words in STEPS)
    return Markup('<ol class="ts-steps">{}</ol>').format(rows)


def machine_sentence(found: Mapping[str, Any]) -> Markup:
    """What will train: "AMD EPYC, 2 cores, 16 GiB of memory." `found` is made by `machine_facts`."""
    device, memory = accelerator(found)
    what = device or f"{found['processor']}, {cores(found)}"
    words = f"{what}, {gib(memory or found['memory'])} of memory"
    return Markup('<p class="ts-muted">{}<span>{}.</span></p>').format(state("succeeded", words=False), words)


def machine_facts(machine: Machine | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """What the worker found, and for what it did not say, what this process sees: processor, cores, memory in bytes."""
    found = {**own, **(machine.facts if machine else {})}
    memory = live.number_of(found, "memory")
    return {**found, "memory": memory or own["memory"], "processor": found.get("processor") or own["processor"]}


def accelerator(found: Mapping[str, Any]) -> tuple[str, float]:
    """The first accelerator's name and memory in bytes; empty and 0 where only the processor is there."""
    devices = [d for d in found.get("devices") or [] if isinstance(d, Mapping) and d.get("kind") != "cpu"]
    return (str(devices[0].get("title", "")), live.number_of(devices[0], "memory") or 0.0) if devices else ("", 0.0)


def cores(found: Mapping[str, Any]) -> str:
    """ "2 cores"."""
    number = int(live.number_of(found, "cores") or 1)
    return "1 core" if number == 1 else f"{number} cores"


def home_head(runs: Sequence[Run]) -> Markup:
    """How many runs train and wait, and when the running one is done."""
    training = [run for run in runs if run.state in LIVE]
    waiting = sum(run.state in WAITING for run in runs)
    one = f"{live.spelled(len(training))} run{' is' if len(training) == 1 else 's are'} training" if training else ""
    runs_wait = "waits" if waiting == 1 else "wait"
    if not training:
        runs_wait = f"run{'' if waiting == 1 else 's'} {runs_wait}"
    more = f"{live.spelled(waiting)} {runs_wait}" if waiting else ""
    title = live.sentence([one, more]).rstrip(".") or "Nothing is running"
    if not training and not waiting:
        return head(title, "Start something new, or look at what the last runs have learnt.")
    return head(title, "You can close this page; runs go on without it.")


def queue_strip(runs: Sequence[Run], line: Line) -> Markup:
    """What runs, with its bar, then what waits in its order. Nothing is said of starts that nobody can know."""
    items = [strip_running(run) for run in runs if run.state in LIVE]
    items += [strip_waiting(run, i, line) for i, run in enumerate(line.waiting[:MOST_IN_STRIP], 1)]
    if len(line.waiting) > MOST_IN_STRIP:
        words = f"and {len(line.waiting) - MOST_IN_STRIP} more"
        items.append(Markup('<li><a href="/runs"><p><b>{}</b></p><p><span>All runs</span></p></a></li>').format(words))
    if not items:
        return Markup("")
    return Markup('<section class="ts-queue" aria-label="Queue"><ol style="flex-wrap:wrap">{}</ol></section>').format(
        join(items)
    )


def strip_running(run: Run) -> Markup:
    """One running run in the strip."""
    return Markup(
        '<li><a href="/run?id={}"><p>{}<b>{}</b></p><p><span>{}</span></p></a><i style="width:{:.1%}"></i></li>'
    ).format(quote(run.id), state(run.state), run.name, live.time_left_words(run).capitalize(), live.share(run))


def strip_waiting(run: Run, place: int, line: Line) -> Markup:
    """One waiting run in the strip."""
    words = "Paused" if line.paused and not run.held else wait_words(run, line)
    return Markup(
        '<li><a href="/run?id={}"><p><span class="place">{}</span><b>{}</b></p><p><span>{}</span></p></a></li>'
    ).format(quote(run.id), place, run.name, words)


def running_card(run: Run | None, series: Mapping[str, Series], memory: tuple[int, int], line: Line) -> Markup:
    """The run that trains, with its curve; or what to do where none does."""
    if run is None and line.waiting:
        return empty("Nothing is running", idle_words(line))
    if run is None:
        return empty("Nothing is running", "Pick a base model, drop in your data, press Start.", new_run())
    lengths = epochs_of(run)
    marks = [sum(lengths[: i + 1]) / sum(lengths) for i in range(len(lengths) - 1)]
    return Markup(
        '<div class="ts-run"><div><p class="meta">{}<span class="ts-muted">{} learns {}</span></p><h2>{}</h2></div>'
        '<div class="big"><strong>{}</strong><span>{}</span>{}</div>{}{}</div>'
    ).format(
        state(run.state),
        live.base_name(run),
        run.dataset_name,
        run.name,
        percent(live.share(run)),
        live.time_left_words(run),
        sparkline(series["loss"], run.steps),
        bar(live.share(run), f"Progress of {run.name}", marks),
        facts(running_figures(run, series, memory)),
    )


def idle_words(line: Line) -> str:
    """Why nothing runs although runs wait."""
    if line.paused:
        return "The queue is paused. Resume it, and the next run in line begins."
    if all(run.held for run in line.waiting):
        return "What waits is held. Release a run, and it begins."
    return "The next run in line begins as soon as the worker is free."


def new_run() -> Markup:
    """The way to the form."""
    return link_button("New run", "/new")


def running_figures(run: Run, series: Mapping[str, Series], memory: tuple[int, int]) -> list[tuple[Text, Text]]:
    """Step, epoch, loss, speed, memory; what is not known yet is left out."""
    last = {name: known[-1][1] for name in METRICS if (known := finite(series[name]))}
    epochs = live.config_of(run).training.num_train_epochs
    rows: list[tuple[Text, Text]] = []
    if run.steps:
        rows.append(("Step", f"{run.step:,} of {run.steps:,}"))
    if "epoch" in last:
        rows.append(("Epoch", f"{last['epoch']:.1f} of {epochs:g}"))
    if "loss" in last:
        rows.append(("Loss", figure(last["loss"], 2)))
    if "tokens_per_s" in last:
        rows.append(("Speed", f"{figure(last['tokens_per_s'], 0)} tokens/s"))
    if memory[0]:
        rows.append(("Memory", gib_of(*memory)))
    return rows


def recent(runs: Sequence[Run]) -> Markup:
    """The newest ended runs with what came out of them."""
    ended = [run for run in runs if run.state in ENDED][:MOST_RECENT]
    row = Markup('<li><a href="/run?id={}"><b>{}</b>{}<span>{}</span>{}</a></li>')
    rows = join(
        row.format(quote(run.id), run.name, state(run.state), live.result_words(run), when(run.ended_at))
        for run in ended
    )
    body = (
        Markup('<ul class="ts-list">{}</ul>').format(rows)
        if ended
        else Markup('<p class="ts-muted">{}</p>').format("What has ended stands here.")
    )
    return cardhead("Recent runs", link("All runs", "/runs")) + body


def playground_words(engine: Mapping[str, Any]) -> str:
    """The playground's process in a line: who is answered, how fast, and what it takes."""
    memory = file_size(int(engine.get("memory", 0)))
    if not engine.get("busy"):
        return f"Ready, {memory}"
    waiting = f", {engine['queue']} waiting" if engine.get("queue") else ""
    return f"{engine.get('batch', 0)} answering{waiting}, {figure(engine.get('tokens_per_s', 0.0))} tokens/s, {memory}"


def machine_card(
    found: Mapping[str, Any], load: Load, used_by_run: int, worker_here: bool, engine: Mapping[str, Any] = NO_ENGINE
) -> Markup:
    """Memory as a meter, then processor, accelerator, disk, worker, and the playground's process where one runs."""
    run = min(used_by_run, load.memory_used)
    parts = [("This run", run, "m1")] if run else []
    parts += [("Other programs" if run else "In use", load.memory_used - run, "m2" if run else "m1")]
    rows: list[tuple[Text, Text]] = [("Memory", gib_of(load.memory_used, load.memory_total))]
    if device := accelerator(found)[0]:
        rows.append(("Accelerator", device))
    rows += [
        ("Processor", f"{found['processor']}, {cores(found)}"),
        ("Disk", f"{file_size(load.disk_free)} free"),
        ("Worker", "Here" if worker_here else "Not running"),
    ]
    if engine:
        rows.append(("Playground", playground_words(engine)))
    return cardhead("This machine") + meter(parts, load.memory_total) + facts(rows, "ts-facts--rows")


def meter(parts: Sequence[tuple[str, int, str]], total: int) -> Markup:
    """A stacked bar of bytes with its legend; parts as (name, bytes, class)."""
    cells = join(Markup('<span class="{}" style="width:{:.2%}"></span>').format(c, n / total) for _, n, c in parts)
    free = total - sum(n for _, n, _ in parts)
    row = Markup('<li><b class="{}"></b>{}<span>{}</span></li>')
    rows = join(row.format(c, name, gib(n)) for name, n, c in [*parts, ("Free", free, "m0")])
    return Markup('<div class="ts-meter"><div aria-hidden="true">{}</div><ul>{}</ul></div>').format(cells, rows)


def notes(notice: str, worker_here: bool, paused: bool, room: tuple[str, str] | None) -> Markup:
    """What the person should know: what `up` restarted, and why nothing can start."""
    found = Markup("")
    if notice:
        found += note("warn", notice, "Runs go on where they were.")
    if not worker_here:
        found += note(
            "warn", "No worker is running", "Start it with tunesmith worker. What waits then begins by itself."
        )
    if room:
        found += note("warn", *room)
    return found + paused_note() if paused else found
