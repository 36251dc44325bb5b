"""The command line `tunesmith`. Entry points are thin: each command parses, calls, prints."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from studio.core.errors import BootRefused, Refused, StudioError
from studio.core.settings import Settings

app = typer.Typer(name="tunesmith", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
errors = Console(stderr=True, highlight=False)
out = Console(highlight=False)
EXIT_FAILED, EXIT_REFUSED, EXIT_BOOT, EXIT_INTERRUPTED = 1, 2, 3, 130
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def up(
    demo: Annotated[bool, typer.Option("--demo", help="Queue the demo run where no run exists yet.")] = False,
) -> None:
    """Start the studio: web process and worker together."""
    from studio.up import run_both

    _exit(lambda: run_both(_settings(), demo=demo))


@app.command()
def web() -> None:
    """Start the web process alone."""
    from studio.web import run_web

    _exit(lambda: run_web(_settings(), lambda address: out.print(f"Listening on {address}", markup=False)))


@app.command()
def worker() -> None:
    """Start the worker alone: it trains what is queued and answers in the playground."""
    os.execv(sys.executable, [sys.executable, "-m", "worker"])  # noqa: S606 - the same process, so signals reach it


@app.command()
def demo(as_json: Json = False) -> None:
    """Run the demo headless: dataset in, queued, trained by the worker, evaluated on the held-out part."""
    from studio.demo import run_demo

    _exit(lambda: _print(run_demo(_settings(), errors), as_json))


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The run as a YAML file: New run writes one.")],
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="A file, or a dataset's name or id.")] = "",
    as_json: Json = False,
) -> None:
    """Start one run headless and watch it to its end. The first Ctrl-C stops it and keeps what was learnt."""
    from studio.train import refusal, run_train

    def run() -> int:
        try:
            report, interrupted = run_train(_settings(), config, data, errors)
        except Refused as error:
            if as_json:
                sys.stdout.write(json.dumps(refusal(error)) + "\n")
            for fault in refusal(error)["faults"]:
                errors.print(f"{fault['problem']} {fault['remedy']}", markup=False)
            return EXIT_REFUSED
        code = _print(report, as_json)
        return EXIT_INTERRUPTED if interrupted else code

    _exit(run)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Look at this machine: Python, SQLite, disk, devices, speed, Hub, starter model."""
    from studio.doctor import examine

    _exit(lambda: _print(examine(_settings(), errors), as_json))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    artifacts: Annotated[
        bool, typer.Option("--artifacts/--records-only", help="With datasets and runs, or the records alone.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write records, datasets and runs to one file, also while the studio works. Models are left out."""
    from studio.core.backup import backup as write
    from studio.shell.health import program_version

    version = program_version()
    _exit(lambda: _print(write(_settings(), file, version=version, artifacts=artifacts, force=force), as_json))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `tunesmith backup` wrote.")], as_json: Json = False
) -> None:
    """Put a backup in the place of what is there, which is kept. Stop the studio first."""
    from studio.core.migrate import known_revisions, prepare_data_dir
    from studio.core.restore import restore as put_back

    def run() -> int:
        settings = _settings()
        prepare_data_dir(settings)
        return _print(put_back(settings, file, known_revisions()), as_json)

    _exit(run)


data = typer.Typer(name="data", no_args_is_help=True, help="Look at data without the studio.")
app.add_typer(data)


@data.command("check")
def data_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to read.")],
    model: Annotated[str, typer.Option("--model", help="Count tokens for it: starter, a folder, a Hub id.")] = "",
    max_length: Annotated[int | None, typer.Option("--max-length", min=1, help="Longest example in tokens.")] = None,
    maps: Annotated[list[str] | None, typer.Option("--map", metavar="ROLE=COLUMN", help="What a column means.")] = None,
    as_json: Json = False,
) -> None:
    """Read a file as the studio would: its shape, what is left out and why, what is worth a look. Nothing is kept."""
    from studio.core.catalog import STARTER_REPO
    from studio.data_check import Check, check, described

    def run() -> int:
        pairs = [one.partition("=") for one in maps or []]
        mapping = {role.strip(): column for role, _, column in pairs}
        asked = Check(file, STARTER_REPO if model == "starter" else model, max_length, mapping)
        report, code = check(_settings(), asked, _told)
        out.print(json.dumps(report) if as_json else described(report), markup=False, soft_wrap=True)
        return code

    _exit(run)


def _told(share: float, words: str) -> None:
    """Progress on standard error, where a person watches."""
    if errors.is_terminal:
        errors.print(f"{share:4.0%} {words}", end="\r", markup=False)


def _settings() -> Settings:
    """The settings; a wrong one is refused in words."""
    try:
        return Settings()
    except ValueError as error:
        raise Refused("A TUNESMITH_ setting is wrong: " + str(error).replace("\n", " ")) from error


def _print(report: dict[str, Any], as_json: bool) -> int:
    """Show a report and give its exit code: 1 where `ok` is not true."""
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        for name, value in report.items():
            out.print(f"[bold]{name}[/bold]  {value}")
    return 0 if report.get("ok", True) else EXIT_FAILED


def _exit(command: Callable[[], int | None]) -> NoReturn:
    """Run a command and leave with its code; what went wrong goes to standard error in one line."""
    try:
        code = command() or 0
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BootRefused as refused:
        errors.print(f"{refused.problem} {refused.remedy}", markup=False)
        code = EXIT_BOOT
    except StudioError as error:
        errors.print(f"{error.problem} {error.remedy}", markup=False)
        code = EXIT_REFUSED if isinstance(error, Refused) else EXIT_FAILED
    raise SystemExit(code)


def main() -> None:
    """The console script."""
    app()
