"""The parts of a run's page: head, progress, outcome, charts, timeline. Pure: rows in, markup out."""

from collections.abc import Sequence
from urllib.parse import quote

from studio.core.states import KEEP_BEST
from studio.core.stores.runs import Event, Run
from studio.core.stores.series import Series
from studio.ui import live
from studio.ui.charts import finite
from studio.ui.line_view import Line, checkpoint_words, wait_words
from studio.ui.markup import Kind, Markup, Text, bar, cardhead, clock, facts, head, join, link_button, note, state, when
from studio.ui.run_curves import best_eval
from studio.ui.theme import SHAPES
from studio.ui.units import figure, gib, gib_of, percent

MOST_EPOCH_MARKS = 6
MARKS = {"note": "running", "warning": "interrupted", "alarm": "interrupted", "eval": "succeeded"}
Figures = list[tuple[Text, Text]]


def run_head(run: Run, line: Line) -> Markup:
    """Name, state, what learns what, and since when."""
    if run.state == "queued":
        time_words = Markup("{}").format(wait_words(run, line))
    elif run.is_live:
        time_words = Markup("{}").format(live.started_words(run))
    else:
        time_words = when(run.ended_at or run.started_at)
    meta = Markup("{}<span>{} learns {}</span><span>{}</span>").format(
        state(run.state), live.base_name(run), run.dataset_name, time_words
    )
    return head(run.name, meta, crumb="Runs")


def run_links(run: Run, has_adapter: bool, has_log: bool) -> Markup:
    """What can be done with a run, as links that look like buttons; stopping is a button of its own.

    `has_adapter`: it has left an adapter, or a model that was trained whole.
    """
    key, found = quote(run.id), []
    is_made = has_adapter and run.state in ("succeeded", "stopped")
    is_lora = live.config_of(run).adapter.tuner == "lora"
    if is_made:
        found.append(link_button("Try it", f"/playground?run={key}&ask=1"))
    if run.is_live and run.checkpoint_step:
        found.append(link_button(f"Try step {run.checkpoint_step:,}", f"/playground?run={key}", plain=True))
    found.append(link_button("Duplicate", f"/new?from={key}", plain=True))
    if is_made and is_lora:
        found.append(link_button("Train further", f"/new?continue={key}", plain=True))
    if is_made:
        words = "Download adapter" if is_lora else "Download model"
        found.append(link_button(words, f"/download/adapter/{key}", plain=True))
    if run.started_at is not None:
        found.append(link_button("Compare with…", f"/compare?a={key}", plain=True))
    if has_log:
        found.append(link_button("Download log", f"/download/log/{key}", plain=True))
    return Markup('<div class="ts-buttons" style="display:flex">{}</div>').format(join(found))


def progress_figures(run: Run, series: dict[str, Series], memory: tuple[int, int]) -> Figures:
    """What a running run is doing; what is not known yet is left out. `memory` is bytes of it and of the machine."""
    rows: Figures = [("Step", f"{run.step:,} of {run.steps:,}")] if run.steps else []
    if run.resume_step:
        rows.append(("Goes on from", f"step {run.resume_step:,}"))
    if saved := checkpoint_words(run):
        rows.append(("Last checkpoint", saved))
    best, speed = best_eval(series["eval_loss"]), finite(series["tokens_per_s"])
    if best:
        rows.append(("Best held-out loss", f"{figure(best[1], 2)} at step {best[0]:,}"))
    if speed:
        learnt = finite(series["learnt_tokens_per_s"])
        of_it = f", {figure(learnt[-1][1], 0)} learnt" if learnt else ""
        rows.append(("Speed", f"{figure(speed[-1][1], 0)} tokens/s{of_it}"))
    if used := finite(series["matmul_share"]):
        rows.append(("Matrix speed used", percent(used[-1][1])))
    if memory[0]:
        rows.append(("Memory", gib_of(*memory)))
    if dtype := (run.spec or {}).get("dtype"):
        rows.append(("Number format", str(dtype)))
    return rows


def epochs_of(run: Run) -> list[float]:
    """The lengths of the epochs, the last one perhaps shorter; one stretch where there are too many to mark."""
    whole = live.config_of(run).training.num_train_epochs
    if whole > MOST_EPOCH_MARKS:
        return [whole]
    full, rest = int(whole), whole - int(whole)
    return [1.0] * full + ([rest] if rest > 0.001 else [])


def progress_bar(run: Run) -> Markup:
    """The bar with a mark at each epoch's end, and the epochs' names below."""
    lengths = epochs_of(run)
    whole = sum(lengths)
    marks = [sum(lengths[: i + 1]) / whole for i in range(len(lengths) - 1)]
    drawn = bar(live.share(run), f"Progress of {run.name}", marks)
    if len(lengths) == 1:
        return drawn
    columns = " ".join(f"{length:g}fr" for length in lengths)
    names = join(Markup("<span>Epoch {}</span>").format(i) for i in range(1, len(lengths) + 1))
    return drawn + Markup('<p class="ts-scale" style="grid-template-columns:{}">{}</p>').format(columns, names)


def progress_card(run: Run, series: dict[str, Series], memory: tuple[int, int]) -> Markup:
    """How far a live run is."""
    done = live.done_at(run)
    until = Markup("<br>Done about {}").format(clock(done)) if done else ""
    return Markup(
        '<div class="ts-card ts-run"><div class="big"><strong>{}</strong><span>{}{}</span></div>{}{}</div>'
    ).format(
        percent(live.share(run)),
        live.time_left_words(run),
        until,
        progress_bar(run),
        facts(progress_figures(run, series, memory)),
    )


def outcome(run: Run, has_adapter: bool) -> Markup:
    """What is so, and what it means or what helps; nothing for a run that waits or is simply going on."""
    match run.state:
        case "succeeded":
            return success_note(run)
        case "stopped":
            kept = "Its adapter is ready to try." if has_adapter else "It left no adapter."
            return note("good" if has_adapter else "plain", run.problem or "Stopped by you.", run.remedy or kept)
        case "stopping":
            kept = "The weights of its best check are" if run.reason == KEEP_BEST else "What it has learnt is"
            return note("plain", "Stopping", f"It ends after the batch it is working on. {kept} kept.")
        case "failed":
            remedy = run.remedy or "Look at the last lines of the log, then duplicate the run and try again."
            return note("bad", run.problem or "It ended without a word of why.", remedy)
        case "interrupted":
            return interrupted_note(run)
    return Markup("")


def interrupted_note(run: Run) -> Markup:
    """Why it was cut off, and from where it goes on."""
    remedy = run.remedy or "It goes on by itself."
    where = f"Its newest checkpoint is step {run.checkpoint_step:,}" if run.checkpoint_step else ""
    saved = f", saved {clock(run.checkpoint_at)}" if run.checkpoint_at else ""
    words = f"{remedy} {where}{saved}." if where else remedy
    return note("warn", run.problem or "It was interrupted.", words)


def success_note(run: Run) -> Markup:
    """The finished run beside its base model, in the words of what was measured."""
    held_out = int(live.number_of(run.result, "held_out") or 0)
    base, tuned = live.scores(run, "exact_match")
    if base is not None and tuned is not None:
        asked = f"{held_out:,} held-out examples" if held_out else "the held-out examples"
        words = f"{percent(tuned)} of {asked} come out exactly right; of the base model's answers {percent(base)}."
        return note(*verdict(tuned > base, tuned == base), words)
    base, tuned = live.scores(run, "loss")
    if base is not None and tuned is not None:
        words = f"Held-out loss went from {figure(base, 2)} to {figure(tuned, 2)}. Lower is better."
        return note(*verdict(tuned < base, tuned == base), words)
    return note("good", "Finished", "Nothing was held out to check it with. Try it in the playground.")


def verdict(better: bool, same: bool) -> tuple[Kind, str]:
    """The kind and title of a note on how the tuned model does."""
    if better:
        return "good", "Better than the base model"
    return "warn", "No better than the base model" if same else "Worse than the base model"


def ended_figures(run: Run, evals: Series) -> Markup:
    """The figures of a run that has ended; nothing where it never began."""
    rows: Figures = []
    if run.steps:
        rows.append(("Step", f"{run.step:,} of {run.steps:,}"))
    if took := live.took(run):
        rows.append(("Took", took))
    if best := best_eval(evals):
        rows.append(("Best held-out loss", f"{figure(best[1], 2)} at step {best[0]:,}"))
    if most := live.most_memory(run):
        rows.append(("Memory at most", gib(most)))
    if dtype := (run.result or run.spec or {}).get("dtype"):
        rows.append(("Number format", str(dtype)))
    return Markup('<div class="ts-card">{}</div>').format(facts(rows)) if rows else Markup("")


def mark_of(kind: str) -> str:
    """The shape of an event: of its state, or of what it tells."""
    return kind if kind in SHAPES else MARKS.get(kind.partition(":")[0], "queued")


def timeline(events: Sequence[Event]) -> Markup:
    """What happened, newest first."""
    row = Markup("<li>{}<div><b>{}</b>{}</div><time>{}</time></li>")
    rows = join(
        row.format(
            state(
                event.kind if event.kind in SHAPES else MARKS.get(event.kind.partition(":")[0], "queued"), words=False
            ),
            event.title,
            Markup("<small>{}</small>").format(event.detail) if event.detail else "",
            clock(event.at),
        )
        for event in events
    )
    return cardhead("What happened") + Markup('<ol class="ts-timeline">{}</ol>').format(rows)
