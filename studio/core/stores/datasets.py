"""Datasets and their versions. A version that a run used is never changed."""

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, func, select

from studio.core.artifacts import new_id
from studio.core.db import Database
from studio.core.errors import NotFound
from studio.core.states import ENDED
from studio.core.tables import dataset_versions, datasets, runs


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

    def add_version(self, dataset_id: str, new: NewDataset) -> DatasetVersion:
        """The next version of a dataset. Raises `NotFound` where that is gone."""
        self.get(dataset_id, new.owner)
        values = {key: value for key, value in new.__dict__.items() if key not in ("version_id", "name")}
        with self._db.write("dataset.version") as connection:
            mine = dataset_versions.c.dataset_id == dataset_id
            number = connection.execute(select(func.max(dataset_versions.c.number)).where(mine)).scalar_one() + 1
            connection.execute(
                dataset_versions.insert().values(
                    **values, id=new.version_id, dataset_id=dataset_id, number=number, created_at=time.time()
                )
            )
        return self.version(new.version_id, new.owner)

    def versions(self, dataset_id: str, owner: str) -> list[DatasetVersion]:
        """All versions of one dataset, newest first. Raises `NotFound`."""
        self.get(dataset_id, owner)
        query = self._query(owner).where(datasets.c.id == dataset_id)
        return self._fetch(query.order_by(dataset_versions.c.number.desc()))

    def users(self, dataset_id: str, owner: str) -> list[tuple[str, str, str, str]]:
        """(run id, name, state, version id) of each run that learns or learnt from a dataset, newest first."""
        query = (
            select(runs.c.id, runs.c.name, runs.c.state, runs.c.dataset_version_id)
            .join(dataset_versions, runs.c.dataset_version_id == dataset_versions.c.id)
            .where(dataset_versions.c.dataset_id == dataset_id, runs.c.owner == owner, runs.c.deleted_at.is_(None))
        )
        with self._db.read() as connection:
            return [(*row,) for row in connection.execute(query.order_by(runs.c.created_at.desc()))]

    def take_back(self, version_id: str, owner: str) -> bool:
        """Remove a version that no run has used and that is not the only one. False where that is not so."""
        used = select(runs.c.id).where(runs.c.dataset_version_id == version_id)
        others = dataset_versions.alias()
        older = select(others.c.id).where(
            others.c.dataset_id == dataset_versions.c.dataset_id, others.c.number < dataset_versions.c.number
        )
        query = dataset_versions.delete().where(
            dataset_versions.c.id == version_id, dataset_versions.c.owner == owner, ~exists(used), exists(older)
        )
        with self._db.write("dataset.take_back") as connection:
            return connection.execute(query).rowcount == 1

    def bury(self, dataset_id: str, owner: str) -> bool:
        """Mark a dataset as deleted, where no run that is still to end needs it. Its runs keep its name."""
        needed = select(runs.c.id).join(dataset_versions, runs.c.dataset_version_id == dataset_versions.c.id)
        needed = needed.where(dataset_versions.c.dataset_id == dataset_id, runs.c.state.not_in(tuple(ENDED)))
        query = datasets.update().where(datasets.c.id == dataset_id, datasets.c.owner == owner, ~exists(needed))
        with self._db.write("dataset.bury") as connection:
            return connection.execute(query.values(deleted_at=time.time())).rowcount == 1

    def known(self) -> set[str]:
        """The ids of all versions whose files are needed: everything else in the folder may go."""
        query = select(dataset_versions.c.id).join(datasets, dataset_versions.c.dataset_id == datasets.c.id)
        with self._db.read() as connection:
            return set(connection.execute(query.where(datasets.c.deleted_at.is_(None))).scalars())

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
        """The dataset that came from the very same file and mapping, with nothing mended, within one person."""
        found = self._fetch(self._query(owner).where(dataset_versions.c.sha256 == sha256))
        same = [version for version in found if _named(version.mapping) == _named(mapping)]
        return next((version for version in same if not version.report.get("steps")), None)

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


def _named(mapping: dict[str, Any]) -> dict[str, Any]:
    return {role: column for role, column in mapping.items() if column}
