"""What a trainer says of errors that are not its own."""

import errno

import pytest

from studio.core.errors import Refused, Unavailable
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
