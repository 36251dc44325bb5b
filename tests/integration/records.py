"""Rows for tests: a dataset version and a queued run without any file behind them."""

from studio.core.artifacts import new_id
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion, NewDataset
from studio.core.stores.runs import NewRun, Run
from studio.core.stores.users import LOCAL_USER


def add_dataset(services: Services, owner: str = LOCAL_USER) -> DatasetVersion:
    """A dataset's row."""
    new = NewDataset(owner, new_id(), "orders", "orders.csv", "0" * 64, {"prompt": "a", "completion": "b"}, {}, 10, 2)
    return services.datasets.add(new)


def add_run(services: Services, name: str = "first", key: str | None = None) -> Run:
    """A queued run's row."""
    version = services.datasets.of(LOCAL_USER) or [add_dataset(services)]
    return services.runs.add(NewRun(LOCAL_USER, name, {}, "repo", "main", version[0].id, key))
