"""`python -m tests.bench.starting --json`: seconds from Submit to the beginning of the first optimizer step.

The real use case, a running worker, a data folder of its own with the starter model, the demo's dataset and config.
Before each run the worker is left alone until its spare trainer is ready and quiet; each run is stopped after its first
step. `parts` says where the time went (medians): each ends with the event of that name. `--fresh` keeps no spare.
`--chatting` lets so many people chat with the base model all the while; none of their answers may be lost.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from studio.core.catalog import STARTER_REPO
from studio.core.lineage import PARENT_VARIABLE
from studio.core.machine import processor_name, real_cores
from studio.core.models import look_up
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.starter import fetch, starter_dir
from studio.core.states import ENDED
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.chat import open_engine
from studio.core.use_cases.demo import CONFIG, demo_dataset
from studio.core.use_cases.steer import stop_run
from studio.core.use_cases.submit import Order, submit
from tests.bench.crowd import Person
from tests.waiting import wait_until

FIRST_STEP = "First step begins"
PARTS = ("Started", "Examples prepared", "Base model loaded", "Training", FIRST_STEP)
ROOT = Path(__file__).parents[2]


@contextmanager
def chatting(services: Services, people: int) -> Iterator[list[Person]]:
    """So many people at the playground with the starter model."""
    crowd: list[Person] = []
    if people:
        starter = look_up(STARTER_REPO, "main", services.settings).ref
        client = open_engine(services, starter.repo, starter.revision)
        crowd = [Person(number, client, math.inf, ["base"]) for number in range(people)]
    for person in crowd:
        person.start()
    try:
        yield crowd
    finally:
        for person in crowd:
            person.until = 0.0
        for person in crowd:
            person.join(120)


def measure(services: Services, worker: psutil.Process, count: int, spare: bool) -> dict[str, Any]:
    """Seconds of each run, and where they went."""
    took, parts, used = [], [], set[int]()
    for number in range(count):
        wait_until(partial(is_warm, worker, spare, used), 300, 0.1)
        used |= {one.pid for one in worker.children(recursive=True) if {"spare", "trainer"} & {*one.cmdline()}}
        times = one_run(services, str(number))
        took.append(times[FIRST_STEP])
        parts.append(dict(zip(PARTS, (end - begin for begin, end in pairs(times)), strict=True)))
        print(f"run {number}: {took[-1]:.2f} s", file=sys.stderr)
    return {
        "processor": processor_name(),
        "cores": real_cores(),
        "runs": count,
        "spare": spare,
        "median": round(statistics.median(took), 2),
        "min": round(min(took), 2),
        "max": round(max(took), 2),
        "parts": {name: round(statistics.median(one[name] for one in parts), 2) for name in PARTS},
    }


def pairs(times: dict[str, float]) -> list[tuple[float, float]]:
    """Begin and end of each part."""
    ends = [times[name] for name in PARTS]
    return list(zip([0.0, *ends[:-1]], ends, strict=True))


def one_run(services: Services, name: str) -> dict[str, float]:
    """Submit a run and stop it after its first step; gives the seconds from Submit to each of its events."""
    dataset = demo_dataset(services, LOCAL_USER)
    began = time.time()
    run = submit(services, LOCAL_USER, Order(name, dataset.id, CONFIG))

    def events() -> dict[str, float]:
        return {event.title: event.at - began for event in services.runs.events(run.id, LOCAL_USER)}

    wait_until(lambda: "First step" in events() or services.runs.get(run.id, None).state in ENDED, 240, 0.25)
    found = events()
    stop_run(services, LOCAL_USER, run.id)
    wait_until(lambda: services.runs.get(run.id, None).state in ENDED, 120, 0.25)
    return found


def is_warm(worker: psutil.Process, spare: bool, used: set[int]) -> bool:
    """Whether a fresh spare trainer is there, no other trainer, and nothing was done for a second.

    The playground's process does not count; `used` are the trainers of earlier runs, which take their time to leave.
    """
    with suppress(psutil.Error):
        found = {one: one.cmdline() for one in worker.children(recursive=True) if one.pid not in used}
        trainers = [command for command in found.values() if not {"engine", "forecast"} & {*command}]
        quiet = [one for one, command in found.items() if "engine" not in command]
        return ["spare" in command for command in trainers] == [True] * spare and busy(worker, quiet) < 0.05
    return False


def busy(worker: psutil.Process, children: list[psutil.Process]) -> float:
    """Seconds of a processor that these used within one."""
    with suppress(psutil.Error):
        before = [sum(one.cpu_times()[:2]) for one in (worker, *children)]
        time.sleep(1.0)
        return sum(sum(one.cpu_times()[:2]) for one in (worker, *children)) - sum(before)
    return 1.0


def main() -> None:
    """Parse, start a worker, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--model", type=Path, help="the starter model's folder, where it was fetched before")
    parser.add_argument("--fresh", action="store_true", help="keep no spare trainer")
    parser.add_argument("--chatting", type=int, default=0, metavar="PEOPLE")
    parser.add_argument("--json", action="store_true", help="one JSON object (it is always one)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tunesmith-starting-") as folder:
        settings = Settings(data_dir=Path(folder) / "data", spare_trainer=not asked.fresh)
        services = open_services(settings)
        if asked.model:
            shutil.copytree(asked.model, starter_dir(settings))
        fetch(settings)
        given = {"DATA_DIR": str(settings.data_dir), "SPARE_TRAINER": str(settings.spare_trainer)}
        worker = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "worker"],
            env={**os.environ, **{f"TUNESMITH_{name}": value for name, value in given.items()},
                 PARENT_VARIABLE: str(os.getpid())},
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr,
        )  # fmt: skip
        try:
            wait_until(lambda: services.machines.newest() is not None, 60)
            with chatting(services, asked.chatting) as crowd:
                report = measure(services, psutil.Process(worker.pid), asked.runs, settings.spare_trainer)
            told = [one for person in crowd for one in person.told]
            report |= {"people": len(crowd), "answers": len(told), "lost": [one.error for one in told if one.error]}
        finally:
            worker.terminate()
            worker.wait(30)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
