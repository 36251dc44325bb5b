"""`python -m tests.bench.importing --json`: 100,000 chats (85 MB of JSONL) from upload to dataset, one row broken.

The calls are those of the web process, so `grew_mb` is what such a process grows by; `peak_mb` is the importing child's
own peak. `first_words_s` is when the person reads how the file was understood, `first_problem_s` when the first bad row
stands on the page.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from studio.core.machine import processor_name
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases import upload
from tests.bench.chat_examples import chats


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Seconds and megabytes of one import of `count` chats, of which the 1,500th row is broken."""
    services = open_services(Settings(data_dir=folder / "data"))
    try:
        bring(services, write(folder / "small.jsonl", 500))  # what is loaded once is loaded now
        path = write(folder / "chats.jsonl", count)
        before = psutil.Process().memory_info().rss
        size = path.stat().st_size
        return {
            "processor": processor_name(),
            "examples": count,
            "megabytes": round(size / 1e6, 1),
            **bring(services, path),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
            "grew_mb": round((psutil.Process().memory_info().rss - before) / 2**20, 1),
        }
    finally:
        services.db.close()
        services.bell.huey.storage.close()


def write(path: Path, count: int) -> Path:
    """The file, written row by row."""
    with path.open("w") as out:
        for number, chat in enumerate(chats(count)):
            line = json.dumps({"messages": chat})
            out.write((line[:-2] if number == 1_499 else line) + "\n")
    return path


def bring(services: Services, path: Path) -> dict[str, Any]:
    """Upload, look, read all rows, record: how long each took."""
    began = time.perf_counter()
    first: list[float] = []
    found = upload.receive(services, LOCAL_USER, path, path.name)
    looked = time.perf_counter() - began

    def heard(_share: float, words: str) -> None:
        if "can not be used" in words and not first:
            first.append(time.perf_counter() - began)

    report = upload.draft(services, LOCAL_USER, found.upload_id, found.mapping, (), heard)
    counted = time.perf_counter() - began
    version = upload.import_upload(services, LOCAL_USER, found.upload_id, found.mapping)
    assert version.examples == report["kept"] and found.is_certain
    return {
        "first_words_s": round(looked, 2),
        "first_problem_s": round(first[0], 2) if first else None,
        "counted_s": round(counted, 2),
        "recorded_s": round(time.perf_counter() - began, 2),
        "kept": report["kept"],
        "dropped": report["dropped"],
        "findings": {finding["kind"]: finding["count"] for finding in report["findings"]},
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object (it always does)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(measure(Path(folder), asked.examples)) + "\n")


if __name__ == "__main__":
    main()
