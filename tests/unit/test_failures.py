"""What a trainer says of errors that are not its own."""

import ast
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import Refused, Unavailable
from studio.core.remedies import CURES
from worker.trainer import failures
from worker.trainer.failures import TABLE, bug, explain
from worker.trainer.job import TrainingFailed


class OutOfMemoryError(RuntimeError):
    """As torch's, which is not imported here."""


class SafetensorError(Exception):
    """As the library's."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "device_out_of_memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
        ),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "disk_full"),
        (SafetensorError("Error while deserializing header"), "model_unusable"),
        (OSError("Error no file named model.safetensors found in directory /secret/place"), "model_unusable"),
        (ValueError("Please pass the argument `trust_remote_code=True`"), "model_unusable"),
        (ConnectionError("down"), "hub_unreachable"),
        (ModuleNotFoundError("No module named 'torch'"), "install_broken"),
        (PermissionError(errno.EACCES, "Permission denied"), "unreadable"),
        (Refused("No.", "Do this."), "refused"),
        (Unavailable("Away.", "Wait."), "unavailable"),
        (TrainingFailed("diverged", "The loss became nan.", "Take a lower learning rate."), "diverged"),
    ],
)
def test_a_foreign_error_gets_a_reason_a_sentence_and_a_remedy(error: Exception, reason: str) -> None:
    failure = explain(error)
    assert failure is not None and failure.reason == reason
    assert failure.problem.endswith(".") and failure.remedy.endswith(".")


def test_an_unforeseen_error_is_a_bug_with_an_id_and_without_its_text() -> None:
    assert explain(KeyError("/home/someone/secret")) is None
    assert "abc123" in bug("abc123").problem


def test_no_sentence_of_the_table_holds_a_path() -> None:
    assert not [failure for *_, failure in TABLE if "/" in failure.problem + failure.remedy]


def raised() -> Iterator[tuple[str, list[ast.expr]]]:
    """Every `TrainingFailed(reason, problem, remedy)` of the trainer, with the file it stands in."""
    for path in sorted(Path(failures.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "TrainingFailed":
                yield path.name, node.args


def test_every_failure_that_the_trainer_raises_has_a_remedy() -> None:
    found = list(raised())
    assert len(found) > 10
    for name, given in found:
        assert len(given) == 3, name
        remedy = given[2]
        assert not isinstance(remedy, ast.Constant) or str(remedy.value).endswith("."), (name, ast.unparse(remedy))


def test_every_reason_that_has_a_change_is_one_that_something_gives() -> None:
    root = Path(failures.__file__).parents[2]
    places = [*(root / "worker").rglob("*.py"), root / "studio/core/alarms.py"]
    sources = "".join(path.read_text() for path in places)
    assert [reason for reason in CURES if f'"{reason}"' not in sources] == []
