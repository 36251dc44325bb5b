"""What is measured on the way: metrics, one number at one step; and samples, a few answers at one step."""

from dataclasses import dataclass

from sqlalchemy import func, select

from studio.core.db import Database
from studio.core.tables import metrics, samples

Series = list[tuple[int, float]]


@dataclass(frozen=True)
class Sample:
    """A held-out prompt, what is expected, and what the model of some step answers."""

    asked: str
    reference: str
    answer: str


class MetricStore:
    """Reads for charts."""

    def __init__(self, db: Database) -> None:
        """`db` is shared by all stores of a process."""
        self._db = db

    def series(self, run_id: str, names: tuple[str, ...], limit: int = 600) -> dict[str, Series]:
        """Each named series in order of steps, thinned evenly to at most `limit` points; the newest point is kept."""
        found: dict[str, Series] = {name: [] for name in names}
        query = select(metrics.c.name, metrics.c.step, metrics.c.value).where(
            metrics.c.run_id == run_id, metrics.c.name.in_(names)
        )
        with self._db.read() as connection:
            for name, step, value in connection.execute(query.order_by(metrics.c.step)):
                found[name].append((step, value))
        return {name: thin(points, limit) for name, points in found.items()}

    def latest(self, run_id: str) -> dict[str, float]:
        """The newest value of every metric of a run."""
        newest = (
            select(metrics.c.name, func.max(metrics.c.step).label("step"))
            .where(metrics.c.run_id == run_id)
            .group_by(metrics.c.name)
            .subquery()
        )
        query = select(metrics.c.name, metrics.c.value).join(
            newest, (metrics.c.name == newest.c.name) & (metrics.c.step == newest.c.step)
        )
        with self._db.read() as connection:
            return {name: value for name, value in connection.execute(query.where(metrics.c.run_id == run_id))}

    def samples(self, run_id: str) -> dict[int, list[Sample]]:
        """The answers of a run by step, 0 first (the base model), each step's in the same order of prompts."""
        query = select(samples).where(samples.c.run_id == run_id).order_by(samples.c.step, samples.c.number)
        found: dict[int, list[Sample]] = {}
        with self._db.read() as connection:
            for row in connection.execute(query).mappings():
                found.setdefault(row["step"], []).append(Sample(row["asked"], row["reference"], row["answer"]))
        return found

    def mean(self, run_id: str, name: str) -> float | None:
        """The mean of one metric over all steps; None where there is none."""
        query = select(func.avg(metrics.c.value)).where(metrics.c.run_id == run_id, metrics.c.name == name)
        with self._db.read() as connection:
            return connection.execute(query).scalar_one_or_none()


def thin(points: Series, limit: int) -> Series:
    """At most `limit` points, evenly chosen, first and last among them."""
    if len(points) <= limit:
        return points
    stride = (len(points) - 1) / (limit - 1)
    return [points[round(i * stride)] for i in range(limit)]
