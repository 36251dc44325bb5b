"""Datasets and their versions. A version that a run used is never changed."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from studio.core.artifacts import new_id
from studio.core.db import Database
from studio.core.errors import NotFound
from studio.core.tables import dataset_versions, datasets


@dataclass(frozen=True)
class NewDataset:
    """What the import hands over once its files are whole in `datasets/<version_id>/`."""

    owner: str
    version_id: str
    name: str
    file_name: str
    sha256: str
    mapping: dict[str, Any]
    report: dict[str, Any]
    examples: int
    held_out: int


@dataclass(frozen=True)
class DatasetVersion:
    """The newest, or one named, version of a dataset. `id` is the version's and names its folder."""

    id: str
    dataset_id: str
    owner: str
    name: str
    number: int
    file_name: str
    sha256: str
    mapping: dict[str, Any]
    report: dict[str, Any]
    examples: int
    held_out: int
    created_at: float


_COLUMNS = (
    dataset_versions,
    datasets.c.name.label("name"),
)


class DatasetStore:
    """Reads are filtered by owner here, in one place."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def add(self, new: NewDataset) -> DatasetVersion:
        """A new dataset with its first version."""
        dataset_id, now = new_id(), time.time()
        values = {key: value for key, value in new.__dict__.items() if key not in ("version_id", "name")}
        with self._db.write("dataset.add") as connection:
            connection.execute(datasets.insert().values(id=dataset_id, owner=new.owner, name=new.name, created_at=now))
            connection.execute(
                dataset_versions.insert().values(
                    **values, id=new.version_id, dataset_id=dataset_id, number=1, created_at=now
                )
            )
        return self.version(new.version_id, new.owner)

    def of(self, owner: str, limit: int = 200) -> list[DatasetVersion]:
        """The newest version of each of a person's datasets, newest first."""
        others = dataset_versions.alias()
        newest = select(func.max(others.c.number)).where(others.c.dataset_id == datasets.c.id)
        query = self._query(owner).where(dataset_versions.c.number == newest.scalar_subquery())
        return self._fetch(query.order_by(dataset_versions.c.created_at.desc()).limit(limit))

    def get(self, dataset_id: str, owner: str) -> DatasetVersion:
        """The newest version of one dataset. Raises `NotFound`."""
        query = self._query(owner).where(datasets.c.id == dataset_id)
        return self._one(query.order_by(dataset_versions.c.number.desc()).limit(1))

    def version(self, version_id: str, owner: str | None) -> DatasetVersion:
        """One version; `owner=None` is the worker. Raises `NotFound`."""
        return self._one(self._query(owner).where(dataset_versions.c.id == version_id))

    def same_file(self, owner: str, sha256: str, mapping: dict[str, Any]) -> DatasetVersion | None:
        """The dataset that came from the very same file and mapping, within one person."""
        found = self._fetch(self._query(owner).where(dataset_versions.c.sha256 == sha256))
        return next((version for version in found if version.mapping == mapping), None)

    def _query(self, owner: str | None) -> Any:
        query = select(*_COLUMNS).join(datasets, dataset_versions.c.dataset_id == datasets.c.id)
        query = query.where(datasets.c.deleted_at.is_(None))
        return query if owner is None else query.where(datasets.c.owner == owner)

    def _fetch(self, query: Any) -> list[DatasetVersion]:
        with self._db.read() as connection:
            rows = connection.execute(query).mappings()
            return [DatasetVersion(**{n: row[n] for n in DatasetVersion.__dataclass_fields__}) for row in rows]

    def _one(self, query: Any) -> DatasetVersion:
        found = self._fetch(query)
        if not found:
            raise NotFound("There is no such dataset.", "Look in the list of datasets.")
        return found[0]
