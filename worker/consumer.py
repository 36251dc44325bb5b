"""The worker's life: boot checks, recovery, then Huey's consumer with its sweep."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from huey.consumer import Consumer

from studio.core import locks
from studio.core.artifacts import write_json
from studio.core.db import Database
from studio.core.errors import BootRefused, DiskFull, StudioError
from studio.core.failpoints import failpoint
from studio.core.machine import measured, processor_name, real_cores
from studio.core.migrate import open_records, prepare_data_dir
from studio.core.queue import Bell
from studio.core.settings import Settings
from studio.core.stores.datasets import DatasetStore
from studio.core.stores.line import TombstoneStore
from studio.core.stores.machines import MachineStore
from studio.core.stores.measurements import MeasurementStore
from studio.core.use_cases.storage import finish_removals, sweep_folders
from worker.dry_run.keeper import DryRunKeeper
from worker.keeper import EngineKeeper
from worker.spare import SpareKeeper
from worker.supervise import Supervisor, child_environment, lock_of_supervisor, trainer_environment
from worker.upkeep import Upkeep

log = logging.getLogger("tunesmith.worker")
SWEEP_SECONDS = 5
DEVICES = 1


def serve(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT. Raises `BootRefused` where another worker serves this data dir."""
    prepare_data_dir(settings)
    lock = locks.hold(lock_of_supervisor(settings))
    if lock is None:
        raise BootRefused("Another worker serves this data folder.", "Stop it, or choose another TUNESMITH_DATA_DIR.")
    failpoint("worker.locked")
    open_records(settings).close()
    leaving = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: leaving.set())
    supervisor = Supervisor(settings, Database(settings.database_path, lambda: not leaving.is_set()), leaving)
    machines = MachineStore(supervisor.db)
    supervisor.recover()
    failpoint("worker.recovered")
    measuring = measure(settings, supervisor, machines)
    spares = keep_spares(settings, supervisor, measuring)
    keeper = EngineKeeper(settings, machines, supervisor.host)
    dry_runs = keep_dry_runs(settings, supervisor)
    bell = Bell(settings, on_runs=supervisor.dispatch, on_engine=keeper.wake, on_forecast=dry_runs.wake)
    upkeep = Upkeep(settings, supervisor.db)
    try:
        _consume(supervisor, machines, keeper, bell, upkeep)
    finally:
        supervisor.leaving.set()
        for one in (spares, keeper, dry_runs):
            one.stop()
        upkeep.leave()
        machines.gone(supervisor.host)
    os.close(lock)
    return 0


def _consume(supervisor: Supervisor, machines: MachineStore, keeper: EngineKeeper, bell: Bell, upkeep: Upkeep) -> None:
    """Run Huey's threads and the sweep. One thread for each device, and one that is always free for other bells."""
    consumer = Consumer(
        bell.huey, workers=DEVICES + 1, periodic=False, max_delay=0.5, shutdown_timeout=12, check_worker_health=False
    )
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    consumer.start()
    for signum, handler in handlers.items():  # the consumer put its own in place, which know nothing of trainers
        signal.signal(signum, handler)
    keeper.start()
    log.info("worker ready")
    tidy(supervisor)
    while not supervisor.leaving.is_set():
        sweep(supervisor, machines, bell, upkeep)
        supervisor.leaving.wait(SWEEP_SECONDS)
    consumer.stop(graceful=True)


def keep_dry_runs(settings: Settings, supervisor: Supervisor) -> DryRunKeeper:
    """The keeper of the process that counts memory for forecasts, at work."""
    keeper = DryRunKeeper(settings, MeasurementStore(supervisor.db), lambda: child_environment(settings))
    keeper.start()
    return keeper


def keep_spares(settings: Settings, supervisor: Supervisor, measuring: threading.Thread | None) -> SpareKeeper:
    """The keeper of the spare trainer, at work where it is set so; it waits for `measuring`, which it would disturb."""

    def wanted() -> bool:
        return not (measuring and measuring.is_alive()) and supervisor.has_time_for_spare()

    spares = SpareKeeper(lambda: trainer_environment(settings), wanted, settings.spare_floor_bytes)
    if settings.spare_trainer:
        supervisor.spares = spares
        spares.start()
    return spares


def tidy(supervisor: Supervisor) -> None:
    """Finish deletions of datasets that a kill cut off."""
    try:
        for folder in (supervisor.artifacts.datasets_dir(), supervisor.artifacts.tokenised_dir()):
            sweep_folders(folder, DatasetStore(supervisor.db).known)
    except Exception:  # a door: they are tried again at the next start
        log.exception("datasets are not tidied")


def sweep(supervisor: Supervisor, machines: MachineStore, bell: Bell, upkeep: Upkeep) -> None:
    """What is done every few seconds: judge dead runs, ring where one waits, say that the worker is there."""
    try:
        upkeep.round()
        machines.seen(supervisor.host)
        supervisor.recover()
        if supervisor.next_run() is not None:
            bell.ring_runs()
        finish_removals(supervisor.artifacts, TombstoneStore(supervisor.db))
    except StudioError as error:
        if isinstance(error, DiskFull):
            upkeep.full(error)
        log.warning("sweep put off: %s", error.problem)
    except Exception:  # a door: whatever it is, the next sweep comes in five seconds
        log.exception("sweep")


def measure(settings: Settings, supervisor: Supervisor, machines: MachineStore) -> threading.Thread | None:
    """Report what is known of this machine at once, and measure anew beside it: of each speed the best is kept.

    Gives the thread that measures.

    A measurement beside a run or another program comes out low; the best of several starts is the machine's own.
    """
    path = settings.data_dir / "machine.json"
    known = measured(settings.data_dir)
    machines.report(supervisor.host, supervisor.worker_id, known)

    def again() -> None:
        fresh = _devices(settings)
        speeds, older = fresh.get("matmul", {}), known.get("matmul", {})
        fresh["matmul"] = {dtype: max(speed, older.get(dtype, 0.0)) for dtype, speed in speeds.items()}
        if fresh["matmul"] and not supervisor.leaving.is_set():
            write_json(path, fresh)
            machines.report(supervisor.host, supervisor.worker_id, fresh)

    thread = threading.Thread(target=again, name="devices", daemon=True)
    thread.start()
    return thread


def _devices(settings: Settings) -> dict[str, Any]:
    """What `python -m worker devices` measures; empty where it fails."""
    process = subprocess.run(
        [sys.executable, "-m", "worker", "devices"], env=child_environment(settings), capture_output=True, check=False
    )
    if process.returncode != 0:
        log.warning("devices could not be measured: %s", process.stderr.decode(errors="replace")[-500:])
        return {}
    facts = json.loads(process.stdout.strip().splitlines()[-1])
    return {**facts, "processor": processor_name(), "cores": real_cores()}
