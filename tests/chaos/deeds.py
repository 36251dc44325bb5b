"""What makes the studio pass each failpoint: submitting a run passes most; the others need a deed of their own."""

import time
from collections.abc import Callable
from pathlib import Path

from studio.core.states import ENDED, LIVE
from studio.core.stores.runs import Run
from tests.chaos.stage import Stage

PATIENCE = 15.0
Deed = Callable[[Stage, str, Run], None]


def passed(stage: Stage) -> None:
    """Wait a while until the armed point was passed; what died is started again meanwhile."""
    try:
        stage.wait(lambda: not (stage.points / "armed").exists(), PATIENCE)
    except AssertionError:
        return  # the caller tells that nothing passed it


def worker_starts(stage: Stage, point: str, run: Run) -> None:
    """The worker is killed and starts again: it recovers, reports, makes ballast, snapshot and mark."""
    if point == "ballast.made":
        (stage.settings.data_dir / "ballast").unlink(missing_ok=True)
    stage.arm(point)
    stage.kill("worker")
    passed(stage)


def worker_leaves(stage: Stage, point: str, run: Run) -> None:
    """The worker is told to end."""
    assert stage.worker is not None
    stage.arm(point)
    stage.worker.terminate()
    stage.worker.wait(30)
    stage.start()


def trainer_dies(stage: Stage, point: str, run: Run) -> None:
    """The trainer is killed, and the worker at the point where it has judged that; again, where it came too late."""
    stage.arm(point)
    for number in range(5):
        name = f"{run.name}-{number}"
        stage.submit(name, name)
        stage.wait(lambda name=name: any(_is_at_work(one) for one in stage.named(name)), every=0.02)  # type: ignore[misc]
        stage.kill("trainer")
        stage.wait(lambda name=name: all(one.state in ENDED for one in stage.named(name)))  # type: ignore[misc]
        if not (stage.points / "armed").exists():
            return


def handed_over(stage: Stage, point: str, run: Run) -> None:
    """A run is handed to the spare trainer; again, where none was there yet."""
    stage.wait(lambda: stage.named(run.name)[0].state in ENDED)
    stage.arm(point)
    for number in range(5):
        name = f"{run.name}-{number}"
        stage.wait(stage.spares, PATIENCE)
        stage.submit(name, name)
        stage.wait(lambda name=name: all(one.state in ENDED for one in stage.named(name)))  # type: ignore[misc]
        if not (stage.points / "armed").exists():
            return


def _is_at_work(run: Run) -> bool:
    """Whether there is a trainer to kill, or the run has ended already."""
    return run.state in ENDED or (run.state in LIVE and run.pid is not None)


LINE = {
    "hold": [("hold", 0), ("release", 0)],
    "move": [("earlier", 1), ("later", 1)],
    "pause": [("pause", None)],
}
"""What passes the points of the line: the deed, and on which of the two waiting runs."""


def line(stage: Stage, point: str, run: Run) -> None:
    """Deeds on the line of waiting runs, each again after the kill."""
    stage.client("pause")
    waiting = [f"{run.name}-{i}" for i in range(2)]
    for name in waiting:
        stage.submit(name, name)
    ids = [stage.named(name)[0].id for name in waiting]
    stage.arm(point)
    for _ in range(2):
        for deed, at in LINE[point.split(".")[1]]:
            stage.client(deed, *([] if at is None else [ids[at]]))
    stage.client("resume")
    stage.wait(lambda: all(one.state in ENDED for name in waiting for one in stage.named(name)))


def delete(stage: Stage, point: str, run: Run) -> None:
    """Delete the ended run twice: the kill, then what is left."""
    stage.wait(lambda: stage.named(run.name)[0].state in ENDED)
    stage.arm(point)
    stage.client("delete", run.id)
    stage.client("delete", run.id)
    stage.wait(lambda: not stage.services.artifacts.run_dir(run.id).exists())


def dataset_life(stage: Stage, point: str, run: Run) -> None:
    """A dataset is made, repaired, taken back and deleted; again after the kill."""
    path = stage.folder / f"{time.monotonic_ns()}.csv"
    path.write_text(f"asked,answer\nWhat is {path.stem}?,A number.\n" * 3)
    stage.arm(point)
    for _ in range(2):
        stage.client("life", str(path))


def playground(stage: Stage, point: str, run: Run) -> None:
    """Somebody wants the playground's process, for a model that is not there."""
    stage.arm(point)
    for _ in range(2):
        stage.client("engine")
    passed(stage)


def forecast(stage: Stage, point: str, run: Run) -> None:
    """A forecast is wanted, and answered by the worker; again after the kill."""
    key = f"{time.monotonic_ns()}"
    stage.arm(point)
    for _ in range(2):
        stage.client("forecast", key)
    passed(stage)


def chat_life(stage: Stage, point: str, run: Run) -> None:
    """A chat of the playground is kept, judged and deleted; again after the kill."""
    stage.arm(point)
    for _ in range(2):
        stage.client("chat")


def key_life(stage: Stage, point: str, run: Run) -> None:
    """A key of the API is made, used and revoked; again after the kill."""
    stage.arm(point)
    for _ in range(2):
        stage.client("key")


def back_up(stage: Stage, point: str, run: Run) -> None:
    """A backup beside the running studio, and again after the kill."""
    path = stage.folder / f"{time.monotonic_ns()}.tar"
    stage.arm(point)
    stage.command("backup", str(path))
    assert stage.command("backup", str(path), "--force") == 0


def restore(stage: Stage, point: str, run: Run) -> None:
    """The studio stops, its own backup is put in its place; the kill is finished or undone at the next start."""
    stage.wait(lambda: stage.named(run.name)[0].state in ENDED)
    stage.end()
    path = stage.folder / f"{time.monotonic_ns()}.tar"
    assert stage.command("backup", str(path)) == 0
    stage.arm(point)
    stage.command("restore", str(path))
    stage.start()
    stage.reopen()


def first_open(stage: Stage, point: str, run: Run) -> None:
    """Another data folder, older or new, is opened for the first time, and again after the kill."""
    place = stage.folder / f"other-{time.monotonic_ns()}"
    if point.startswith("migration."):
        assert stage.client("old", data_dir=place) == 0
    stage.arm(point)
    stage.client("open", data_dir=place)
    assert stage.client("open", data_dir=Path(place)) == 0


DEEDS: dict[str, Deed] = {
    "line": line,
    "delete": delete,
    "dataset": dataset_life,
    "engine": playground,
    "measurement": forecast,
    "chat": chat_life,
    "key": key_life,
    "backup": back_up,
    "restore": restore,
    "migration": first_open,
    "user": first_open,
    "spare": handed_over,
    "spare.started": worker_starts,
    "spare.ready": worker_starts,
    "worker": worker_starts,
    "ballast": worker_starts,
    "snapshot": worker_starts,
    "mark": worker_starts,
    "machine": worker_starts,
    "machine.gone.commit": worker_leaves,
    "machine.gone.committed": worker_leaves,
    "supervisor.interrupted": trainer_dies,
}


def deed_of(point: str) -> Deed | None:
    """The deed that passes `point`; None where submitting a run does."""
    return DEEDS.get(point) or DEEDS.get(point.partition(".")[0])
