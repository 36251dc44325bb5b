"""`tunesmith data check FILE`: what the studio makes of a file, headless. The same reader and doctor as on the page."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.core.child import Progress
from studio.core.errors import NotFound, Refused, StudioError
from studio.core.findings import of_counts
from studio.core.formats import NEEDED, ROLES
from studio.core.migrate import prepare_data_dir
from studio.core.models import is_starter, look_up, ready_folder, tokenizer_folder
from studio.core.reader import ask
from studio.core.settings import Settings

_SHOWN = 10
CLEAN, PROBLEMS, REFUSED = 0, 1, 2
_ENDINGS = {
    **{kind: kind for kind in ("jsonl", "json", "csv", "tsv", "parquet", "arrow", "xlsx", "txt", "zip", "gz", "zst")},
    "ndjson": "jsonl", "feather": "arrow", "md": "txt",
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """What is asked: the file, the model that shall learn it (a repo, a folder, empty for none), the mapping so far."""

    file: Path
    model: str = ""
    max_length: int | None = None
    mapping: dict[str, str] = field(default_factory=dict)


def check(settings: Settings, asked: Check, on_progress: Progress | None = None) -> tuple[dict[str, Any], int]:
    """The report, whatever the outcome, and the exit code: 0 clean, 1 with problems or a guess, 2 refused or empty."""
    report: dict[str, Any] = {
        "file": asked.file.name, "container": _ENDINGS.get(asked.file.suffix.lower().lstrip(".")), "format": None,
        "encoding": None, "read": 0, "kept": 0, "dropped": [], "columns": [], "mapping": {}, "findings": [],
        "tokens": None, "error": None,
    }  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
            _fill(report, settings, asked, Path(folder), on_progress)
    except StudioError as error:
        report["error"] = {"problem": error.problem, "remedy": error.remedy}
        return report, REFUSED
    if not report["kept"]:
        return report, REFUSED
    return report, PROBLEMS if report["dropped"] or report["findings"] else CLEAN


def _fill(report: dict[str, Any], settings: Settings, asked: Check, out: Path, on_progress: Progress | None) -> None:
    """Read the file into `out` and take its facts into `report` as they come. Raises `StudioError`."""
    with _given(asked.file) as source:
        if asked.file.stat().st_size > settings.max_upload_bytes:
            most = settings.max_upload_bytes / 1e9
            raise Refused(f"{asked.file.name} is larger than {most:.1f} GB.", "Split it into smaller files.")
        seen = ask({"do": "inspect", **source}, settings)
        named = ("container", "inner", "format", "encoding", "delimiter", "words", "columns", "mapping", "warnings")
        report.update({name: seen[name] for name in named})
        report["encoding"] = seen["encoding"] or None
        report["mapping"] = _mapping(asked.mapping, seen["mapping"])
        request = {"do": "import", **source, "mapping": report["mapping"], "out": str(out), "keep_empty": True}
        made = ask(request, settings, on_progress)
    more = ("format", "read", "kept", "columns", "mapping", "unused", "warnings", "turns")
    report.update({name: made[name] for name in more})
    with (out / "dropped.jsonl").open() as lines:
        report["dropped"] = [json.loads(line) for line in lines]
    report["findings"] = [_short(finding) for finding in made["findings"]]
    if not seen["certain"] and not asked.mapping:
        report["findings"].append({"kind": "guessed_mapping", "count": 1, "rows": []})
    if not made["kept"]:
        raise Refused(made["problem"], made["remedy"])
    if asked.model:
        _count(report, settings, asked, out / "data.parquet", on_progress)


@contextmanager
def _given(file: Path) -> Iterator[dict[str, str]]:
    """The file as the reader takes it. Raises `NotFound`."""
    if not file.is_file():
        raise NotFound(f"There is no file {str(file)[:200]!r}.", "Check its name.")
    yield {"source": str(file.resolve()), "name": file.name}


def _mapping(given: dict[str, str], guessed: dict[str, str]) -> dict[str, str]:
    """The person's mapping; where it lacks a part, the guess fills it in."""
    for role in given:
        if role not in ROLES:
            raise Refused(f"A column can not be mapped as {role!r}.", "Use one of: " + ", ".join(ROLES) + ".")
    whole = any(set(needed) <= set(given) for needed in NEEDED.values())
    return dict(given) if whole else {**guessed, **given}


def _short(finding: dict[str, Any]) -> dict[str, Any]:
    return {name: finding[name] for name in ("kind", "count", "rows", "facts") if name in finding}


def _count(report: dict[str, Any], settings: Settings, asked: Check, data: Path, on_progress: Progress | None) -> None:
    """Tokens for the model, and what of the examples does not go together with it."""
    repo = str(Path(asked.model).resolve()) if Path(asked.model).is_dir() else asked.model
    if is_starter(repo, "main", settings):
        prepare_data_dir(settings)
        ready_folder(repo, "main", settings, on_progress)
    facts = look_up(repo, "main", settings)
    folder = tokenizer_folder(facts.ref.repo, facts.ref.revision, settings)
    request = {"do": "count", "data": str(data), "model": str(folder), "max_length": asked.max_length, "whole": True}
    counts = ask(request, settings, on_progress)
    kept = ("counted", "tokens", "learnt", "cut", "cut_tokens", "longest", "average", "context", "max_length",
            "nothing_learnt", "no_end", "refused", "refused_words", "histogram")  # fmt: skip
    report["tokens"] = {"model": facts.ref.repo, **{name: counts[name] for name in kept}}
    report["findings"] += [_short(finding) for finding in of_counts(counts, {})]


def described(report: dict[str, Any]) -> str:
    """The report for people."""
    if report["error"] and not report["read"]:
        return f"{report['error']['problem']} {report['error']['remedy']}"
    mapping = ", ".join(f"{role} is {column!r}" for role, column in report["mapping"].items())
    lines = [
        f"{report['file']}: {report.get('words') or report['container']}, {report['format']}; {mapping}",
        f"{report['read']:,} rows read, {report['kept']:,} kept, {len(report['dropped']):,} left out",
        *(one["reason"] for one in report["dropped"][:_SHOWN]),
        *([f"and {len(report['dropped']) - _SHOWN:,} more"] if len(report["dropped"]) > _SHOWN else []),
    ]
    for finding in report["findings"]:
        rows = ", ".join(f"{row:,}" for row in finding["rows"][:_SHOWN])
        name = finding["kind"].replace("_", " ")
        lines.append(f"{name}: {finding['count']:,}" + (f" (rows {rows})" if rows else ""))
    tokens = report["tokens"]
    if tokens:
        lines.append(f"{tokens['tokens']:,} tokens, {tokens['learnt']:,} of them learnt, longest {tokens['longest']:,}")
    if report["error"]:
        lines.append(f"{report['error']['problem']} {report['error']['remedy']}")
    return "\n".join(lines)
