"""`tunesmith train CONFIG`: one run headless, by a row and the worker, like every other run."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from studio.core.config.files import MOST_BYTES, RunFile, from_yaml
from studio.core.errors import Fault, Faults, NotFound, Refused, StudioError
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.submit import Order, submit
from studio.core.use_cases.upload import import_upload, receive
from studio.headless import Ended, OwnWorker, progress_on, wait


def run_train(settings: Settings, file: Path, data: str, console: Console) -> tuple[dict[str, Any], bool]:
    """The report of the run, waited for, and whether Ctrl-C stopped it. Raises `Faults` with all that is wrong."""
    faults: list[Fault] = []
    found = _read(file, faults)
    services = open_services(settings)
    version = _dataset(services, found, data, faults)
    if faults or found is None or version is None:
        raise Faults(faults)
    run = submit(services, LOCAL_USER, Order(found.name, version.id, found.config))
    console.print(f"Queued as {run.name} (run {run.id}).", markup=False)
    worker = OwnWorker(settings)
    with progress_on(console) as progress:
        try:
            ended = wait(services, run, progress, worker)
        finally:
            worker.end()
    return report_of(ended), ended.interrupted


def refusal(error: StudioError) -> dict[str, Any]:
    """What is wrong, as the one JSON object of `--json`."""
    faults = error.faults if isinstance(error, Faults) else (Fault(error.field, error.problem, error.remedy),)
    return {"ok": False, "faults": [{"field": f.field, "problem": f.problem, "remedy": f.remedy} for f in faults]}


def report_of(ended: Ended) -> dict[str, Any]:
    """What came out: figures alone, no path."""
    run = ended.run
    result = run.result or {}
    report: dict[str, Any] = {
        "ok": run.state == "succeeded",
        "run_id": run.id,
        "name": run.name,
        "state": run.state,
        "seconds": round(ended.seconds, 1),
        "step": run.step,
        "steps": run.steps,
        "base": result.get("base"),
        "tuned": result.get("tuned"),
        "held_out": result.get("held_out"),
        "peak_rss_mb": result.get("peak_rss_mb"),
        "dtype": result.get("dtype"),
    }
    if run.state != "succeeded":
        report |= {"reason": run.reason, "problem": run.problem, "remedy": run.remedy}
    return report


def _read(file: Path, faults: list[Fault]) -> RunFile | None:
    """What the file says; None, and its faults noted, where it can not be used."""
    try:
        with file.open("rb") as opened:
            return from_yaml(opened.read(MOST_BYTES + 1).decode("utf-8-sig"))
    except Faults as error:
        faults.extend(error.faults)
    except UnicodeDecodeError:
        faults.append(Fault("file", f"{file.name!r} is not UTF-8 text.", "Save it as UTF-8."))
    except OSError:
        faults.append(Fault("file", f"The file {file.name!r} can not be read.", "Check its name."))
    return None


def _dataset(services: Services, found: RunFile | None, data: str, faults: list[Fault]) -> DatasetVersion | None:
    """What is learnt: `data` (a file, or a dataset's id or name), else what the config names."""
    named = [data] if data else [found.dataset_id, found.dataset] if found else []
    try:
        if data and Path(data).is_file():
            return _imported(services, Path(data))
        for name in filter(None, named):
            if version := named_dataset(services, name):
                return version
    except StudioError as error:
        faults.append(Fault("data", error.problem, error.remedy))
        return None
    if found is not None or data:
        said = next((repr(name[:80]) for name in reversed(named) if name), "")
        words = f"There is no file or dataset called {said}." if said else "No dataset is named."
        faults.append(Fault("data", words, "Give one with --data: a file, or a dataset's name or id."))
    return None


def named_dataset(services: Services, name: str) -> DatasetVersion | None:
    """A person's dataset by the id of a version, by its own id, or by its name (the newest of that name)."""
    for find in (services.datasets.version, services.datasets.get):
        try:
            return find(name, LOCAL_USER)
        except NotFound:
            continue
    return next((one for one in services.datasets.of(LOCAL_USER) if one.name == name), None)


def _imported(services: Services, file: Path) -> DatasetVersion:
    """A file as a dataset, read in the sandbox. Raises `Refused` where it is not certain what its columns mean."""
    if file.stat().st_size > services.settings.max_upload_bytes:
        most = services.settings.max_upload_bytes / 1e9
        raise Refused(f"{file.name} is larger than {most:.1f} GB.", "Split it into smaller files.")
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        seen = receive(services, LOCAL_USER, Path(shutil.copyfile(file, Path(folder) / "data")), file.name)
    if not seen.is_certain:
        shutil.rmtree(services.artifacts.upload_dir() / seen.upload_id, ignore_errors=True)
        words = f"It is not certain what the columns of {file.name} mean."
        raise Refused(words, "Drop it on the page Datasets once and say so, then name that dataset.")
    return import_upload(services, LOCAL_USER, seen.upload_id, seen.mapping)
