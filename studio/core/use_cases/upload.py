"""From a file that arrived to a dataset: taken away at once, looked at in the sandbox, imported once mapped."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.artifacts import is_id, new_id, publish_dir, read_json, sha256_file, write_json
from studio.core.errors import NotFound, Refused
from studio.core.reader import ask
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion, NewDataset

KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Inspection:
    """What was understood of an upload. `mapping` is the guess, `is_certain` whether it needs no second look."""

    upload_id: str
    name: str
    container: str
    columns: tuple[str, ...]
    mapping: dict[str, str]
    is_certain: bool
    sample: tuple[dict[str, str], ...]
    facts: dict[str, Any]


def receive(services: Services, owner: str, source: Path, name: str) -> Inspection:
    """Move the file into our store and look into it. Raises `Refused`; then the file is gone again."""
    _sweep(services)
    upload_id = new_id()
    folder = services.artifacts.upload_dir() / upload_id
    folder.mkdir(parents=True, mode=0o700)
    try:
        shutil.move(source, folder / "original")
        write_json(folder / "upload.json", {"owner": owner, "name": name})
        found = ask({"do": "inspect", "source": str(folder / "original"), "name": name}, services.settings)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Inspection(
        upload_id,
        name,
        found["container"],
        tuple(found["columns"]),
        found["mapping"],
        bool(found["certain"]),
        tuple(found["sample"]),
        found,
    )


def import_upload(services: Services, owner: str, upload_id: str, mapping: dict[str, str]) -> DatasetVersion:
    """The dataset made from an inspected upload. The same file and mapping again give the first one back."""
    folder = services.artifacts.upload_dir() / upload_id
    about = read_json(folder / "upload.json") if is_id(upload_id) else None
    if about is None or about["owner"] != owner:
        raise NotFound("The uploaded file is no longer there.", "Drop it again.")
    version = import_file(services, owner, folder / "original", about["name"], mapping)
    shutil.rmtree(folder, ignore_errors=True)
    return version


def import_file(services: Services, owner: str, source: Path, name: str, mapping: dict[str, str]) -> DatasetVersion:
    """A dataset from a file of ours or an upload: read in the sandbox, published whole, then recorded."""
    sha256 = sha256_file(source)
    known = services.datasets.same_file(owner, sha256, mapping)
    if known is not None:
        return known
    version_id = new_id()
    final = services.artifacts.dataset_dir(version_id)
    building = final.with_name(f".{version_id}.part")
    building.mkdir(parents=True)
    try:
        request = {"do": "import", "source": str(source), "name": name, "mapping": mapping, "out": str(building)}
        report = ask(request, services.settings)
        if report["kept"] < 1:
            raise Refused(f"{name} has no row that can be learnt from.", "Look at the reasons, or map other columns.")
        shutil.copyfile(source, building / "original")
        publish_dir(building, final)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return services.datasets.add(
        NewDataset(
            owner=owner,
            version_id=version_id,
            name=Path(name).name,
            file_name=name,
            sha256=sha256,
            mapping=mapping,
            report=report,
            examples=report["kept"],
            held_out=report["held_out"],
        )
    )


def _sweep(services: Services) -> None:
    """Forget uploads that nobody mapped within a day."""
    folder = services.artifacts.upload_dir()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
