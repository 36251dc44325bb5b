"""The panel "What will happen": what pressing Start would do now, and why Start is off where it is."""

from dataclasses import dataclass
from typing import Any

from studio.core.alarms import few_steps
from studio.core.config import RunConfig, parse_config
from studio.core.errors import Fault, Faults, NotFound
from studio.core.estimate import Plan, plan
from studio.core.estimate.fitting import Change
from studio.core.findings import severity
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.states import ENDED
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.forecast import Forecast, forecast
from studio.core.use_cases.pace import Time
from studio.core.use_cases.room import Room
from studio.core.use_cases.submit import model_faults
from studio.ui import live
from studio.ui.findings_view import ordered, title_of
from studio.ui.fit_view import fit_part
from studio.ui.going import address
from studio.ui.markup import NOTHING, Markup, Text, cardhead, facts, join, link, muted, note
from studio.ui.units import about, between, count, file_size

TITLE = "What will happen"
TOO_BIG = "Start waits until the run fits."
NO_ROOM = "Start waits until there is room on the disk."


@dataclass(frozen=True)
class Outlook:
    """The panel's markup, whether Start may be pressed, and the sentence beneath it.

    `change` is the nearest change with which the run fits; `measuring`: more is known in a moment.
    """

    panel: Markup
    may_start: bool
    why: Markup
    change: Change | None = None
    measuring: bool = False


def outlook(
    services: Services, owner: str, raw: dict[str, Any], version_id: str | None, found: ModelFacts | None
) -> Outlook:
    """The panel for the form as it stands; `found` is None where the model was not looked up or can not be used."""
    try:
        config = parse_config(raw)
    except Faults as error:
        return refused(list(error.faults))
    if found is None:
        return waiting("Steps and time stand here once the base model is known.", "Start waits for a base model.")
    dataset = chosen(services, owner, version_id)
    if dataset is None:
        faults = model_faults(config, found)
        words = "Choose a dataset or drop a file. Then steps, tokens and time stand here."
        return refused(faults) if faults else waiting(words, "Start waits for a dataset.")
    if not found.is_here and found.ref.source.startswith("starter"):
        return uncounted(line(services, owner), config, dataset, found)
    seen = forecast(services, owner, raw, version_id, found)
    if seen.faults or seen.plan is None:
        return refused(list(seen.faults))
    panel = join([drawn(seen.plan, seen, config), worth_a_look(dataset)])
    fits = seen.fit is None or seen.fit.fits
    roomy = seen.room is None or seen.room.fits
    why = line(services, owner) if fits and roomy else muted(NO_ROOM if fits else TOO_BIG)
    change, measuring = (seen.fit.change, seen.fit.measuring) if seen.fit else (None, False)
    return Outlook(panel, fits and roomy, why, change, measuring)


def chosen(services: Services, owner: str, version_id: str | None) -> DatasetVersion | None:
    """The person's dataset, or None where the choice means nothing."""
    try:
        return services.datasets.version(version_id, owner) if version_id else None
    except NotFound:
        return None


def waiting(words: str, why: str) -> Outlook:
    """A panel that has nothing to say yet."""
    return Outlook(join([cardhead(TITLE), muted(words)]), False, muted(why))


def refused(faults: list[Fault]) -> Outlook:
    """A panel that names every fault."""
    words = "one thing is mended" if len(faults) == 1 else f"{len(faults)} things are mended"
    return Outlook(join([cardhead(TITLE), fault_notes(faults)]), False, muted(f"Start waits until {words}."))


def fault_notes(faults: list[Fault]) -> Markup:
    """Each fault with its remedy."""
    return join(note("bad", fault.problem, fault.remedy) for fault in faults)


def uncounted(waits: Markup, config: RunConfig, dataset: DatasetVersion, found: ModelFacts) -> Outlook:
    """What can be said before the starter model is here: its tokenizer comes with it, so nothing is counted yet."""
    faults = model_faults(config, found)
    if faults:
        return refused(faults)
    held = dataset.held_out or round(dataset.examples * config.training.eval_share)
    planned = plan(config.training, max(1, dataset.examples - held), held, 0)
    words = note("plain", "The starter model is fetched first", "Tokens and time are known once it is here.")
    pairs = [("Steps", steps_words(planned)), ("Learns from", examples_words(planned))]
    return Outlook(join([cardhead(TITLE), facts(pairs, "ts-facts--grid"), words]), True, waits)


def drawn(planned: Plan, seen: Forecast, config: RunConfig) -> Markup:
    """The panel with all its figures."""
    read = planned.steps / planned.steps_per_epoch
    learnt = seen.counts.get("train_learnt", seen.counts["learnt"]) * read
    pairs: list[tuple[Text, Text]] = [
        ("Time", time_words(seen.time)),
        ("Steps", steps_words(planned)),
        ("Learns from", examples_words(planned)),
        ("Learnt tokens", small(count(learnt), f"of {count(planned.tokens)} read")),
        *([("Checks and answers", beside_words(seen.time))] if seen.time and seen.time.checking.read else []),
        *([("Disk", disk_words(seen.room))] if seen.room else []),
    ]
    few = join(note("warn", one.title, one.text) for one in few_steps(planned.steps))
    told = warnings(seen.counts, config.training.max_length)
    return join([cardhead(TITLE), fit_part(seen.fit), disk_note(seen.room), facts(pairs, "ts-facts--grid"), few, told])


def time_words(time: Time | None) -> Text:
    """The time, and between what it lies."""
    if time is None or time.seconds is None or time.range is None:
        return about(None)
    return small(about(time.seconds), between(*time.range))


def beside_words(time: Time) -> Markup:
    """How much of the time goes to checks and answers, and how many they are."""
    found = time.checking
    many = count(found.read, "check") + (f", {count(found.answered, 'example')} answered" if found.answered else "")
    return small(about(time.beside) if time.seconds is not None else "unknown", many)


def disk_words(room: Room) -> Markup:
    """What is written at the fullest moment, and of it what a run that is cut off goes on from."""
    most = f"{file_size(room.written.checkpoints)} of it {count(room.written.most, 'checkpoint')}"
    return small(f"{file_size(room.written.total)} of {file_size(room.free)}", most)


def disk_note(room: Room | None) -> Markup:
    """A word where the disk is too small."""
    if room is None or room.fits_whole:
        return NOTHING
    written = room.written
    if room.fits:
        title = f"No room for all checkpoints: {file_size(written.total)} of {file_size(room.free)}"
        text = "Those that do not fit are left out: a run that is cut off loses more."
        return note("warn", title, f"{text} Free {file_size(written.total - room.free)} for all of them.")
    title = f"The disk is too small: {file_size(written.needed)} of {file_size(room.free)}"
    text = "The base model and what is learnt do" if written.fetched else "What is learnt does"
    return note("bad", title, f"{text} not fit. Free {file_size(written.needed - room.free)}.")


def steps_words(planned: Plan) -> Markup:
    """All steps, and how they come about."""
    epochs = planned.steps / planned.steps_per_epoch
    if epochs < 1:
        return small(count(planned.steps), f"of {planned.steps_per_epoch:,} in an epoch")
    return small(count(planned.steps), f"{epochs:.3g} epoch{'' if epochs == 1 else 's'} of {planned.steps_per_epoch:,}")


def examples_words(planned: Plan) -> Markup:
    """What is learnt from, and what is kept back."""
    return small(count(planned.examples, "example"), f"{planned.held_out:,} held out to check")


def small(value: str, more: str) -> Markup:
    """A figure with a word beneath."""
    return Markup("{}<small>{}</small>").format(value, more)


def warnings(counts: dict[str, Any], max_length: int) -> Markup:
    """What a person should know of the examples before they start."""
    notes = []
    if counts.get("cut"):
        tokens, longest = count(counts.get("cut_tokens", 0), "token"), count(counts["longest"], "token")
        lost = "They are left out" if counts.get("overlong") == "drop" else f"They lose {tokens} at the end"
        text = f"{lost} (see Too long examples). The longest has {longest}."
        title = f"{count(counts['cut'], 'example')} longer than {count(max_length, 'token')}"
        notes.append(note("warn", title, text))
    if counts.get("nothing_learnt"):
        more = " A higher Longest example keeps them." if counts.get("cut") else ""
        text = f"Their answers are cut off whole, or empty. They are left out.{more}"
        notes.append(note("warn", f"{count(counts['nothing_learnt'], 'example')} with nothing to learn", text))
    if counts.get("refused"):
        title = f"{count(counts['refused'], 'example')} that the model's template refuses"
        notes.append(note("warn", title, counts.get("refused_words", "")))
    if counts.get("no_end"):
        text = "They do not teach the model when to stop."
        notes.append(note("warn", f"{count(counts['no_end'], 'answer')} without a learnt end", text))
    return join(notes)


def worth_a_look(dataset: DatasetVersion) -> Markup:
    """What was found in the data, in one line, with the way to it."""
    found = [one for one in ordered(dataset.report.get("findings", [])) if severity(one["kind"]) != "plain"]
    if not found:
        return NOTHING
    there = link("Look\u00a0at\u00a0it", address("/datasets", id=dataset.dataset_id, version=dataset.id))
    grave = severity(found[0]["kind"]) == "bad"
    more = f" And {count(len(found) - 1, 'more thing')}." if len(found) > 1 else ""
    return note(
        "bad" if grave else "warn",
        title_of(found[0]),
        Markup("{}{} {}").format("It is learnt as it stands.", more, there),
    )


def line(services: Services, owner: str) -> Markup:
    """What stands between Start and the first step: no worker, no room, a paused queue, or other runs."""
    if not live.worker_here(services):
        return muted("No worker is running: the run waits until one is started.")
    if room := live.room(services):
        return muted(" ".join(room))
    if services.line.paused_at() is not None:
        return muted("The queue is paused: the run waits until it is resumed.")
    waits = sum(run.state not in ENDED for run in services.runs.of(owner))
    return muted(f"Waits for {count(waits, 'run')}." if waits else "It starts at once.")
