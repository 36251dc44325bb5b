"""Everything a page or a command asks for, opened once per process."""

from dataclasses import dataclass

from studio.core.artifacts import Artifacts
from studio.core.db import Database
from studio.core.migrate import open_records, prepare_data_dir
from studio.core.queue import Bell
from studio.core.settings import Settings
from studio.core.stores.chats import ChatStore
from studio.core.stores.datasets import DatasetStore
from studio.core.stores.keys import KeyStore
from studio.core.stores.line import LineStore, TombstoneStore
from studio.core.stores.machines import MachineStore
from studio.core.stores.measurements import MeasurementStore
from studio.core.stores.runs import RunStore
from studio.core.stores.series import MetricStore


@dataclass(frozen=True)
class Services:
    """The stores, the files and the bell over one data dir."""

    settings: Settings
    db: Database
    runs: RunStore
    metrics: MetricStore
    datasets: DatasetStore
    machines: MachineStore
    line: LineStore
    tombstones: TombstoneStore
    measurements: MeasurementStore
    chats: ChatStore
    keys: KeyStore
    artifacts: Artifacts
    bell: Bell


def open_services(settings: Settings) -> Services:
    """Make the data dir and the newest schema where they are missing. Raises `BootRefused`."""
    prepare_data_dir(settings)
    db = open_records(settings)
    runs = RunStore(db), MetricStore(db), DatasetStore(db), MachineStore(db)
    stores = *runs, LineStore(db), TombstoneStore(db), MeasurementStore(db), ChatStore(db), KeyStore(db)
    return Services(settings, db, *stores, Artifacts(settings.data_dir), Bell(settings))
