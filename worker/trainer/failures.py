"""From what libraries raise to a reason, a sentence of cause and one of remedy: the one table. Light: no torch.

Foreign classes are told by name and text, so that this module also works where importing them is what failed.
"""

import errno
from dataclasses import asdict, dataclass
from pathlib import Path

from studio.core.artifacts import write_json
from studio.core.errors import DiskFull, Faults, NotFound, Refused, StudioError, Unavailable


@dataclass(frozen=True)
class Failure:
    """A verdict in words, as it is written to `failure.json`."""

    reason: str
    problem: str
    remedy: str


_LESS_MEMORY = "Let activations be computed again instead of kept, or cut examples shorter."
_OUT_OF_MEMORY = Failure("out_of_memory", "The memory was not enough for this run.", _LESS_MEMORY)
_DEVICE_MEMORY = Failure("device_out_of_memory", "The accelerator's memory was not enough for this run.", _LESS_MEMORY)
_DISK_FULL = Failure("disk_full", "The disk is full.", "Make room in the data dir, then start the run again.")
_NO_READ = Failure("unreadable", "A file of the run could not be read.", "Look at the log; then start it again.")
_BROKEN_MODEL = Failure(
    "model_unusable", "The base model's files do not fit together.", "Fetch it again, or choose another model."
)
_CUSTOM_CODE = Failure(
    "model_unusable",
    "The base model needs code of its own to run.",
    "Choose a model that Transformers knows.",
)
_HUB = Failure("hub_unreachable", "The Hugging Face Hub did not answer.", "Try again when it can be reached.")
_MISSING_PART = Failure("install_broken", "A library that training needs is missing.", "Install Tunesmith again.")

# (class name or "" for any, part of the text in lower case or "" for any) -> the failure; the first that fits counts
TABLE: tuple[tuple[str, str, Failure], ...] = (
    ("", "no space left on device", _DISK_FULL),  # also safetensors' own error, which has no errno
    ("RuntimeError", "pytorchstreamwriter failed", _DISK_FULL),  # torch.save, which hides the errno
    ("OutOfMemoryError", "", _DEVICE_MEMORY),
    ("AcceleratorError", "out of memory", _DEVICE_MEMORY),
    ("MemoryError", "", _OUT_OF_MEMORY),
    ("RuntimeError", "can't allocate memory", _OUT_OF_MEMORY),
    ("RuntimeError", "not enough memory", _OUT_OF_MEMORY),
    ("RuntimeError", "out of memory", _DEVICE_MEMORY),
    ("SafetensorError", "", _BROKEN_MODEL),
    ("", "trust_remote_code", _CUSTOM_CODE),
    ("ValueError", "does not recognize this architecture", _CUSTOM_CODE),
    ("ValueError", "unrecognized model", _BROKEN_MODEL),
    ("OSError", "no file named", _BROKEN_MODEL),
    ("RuntimeError", "size mismatch", _BROKEN_MODEL),
    ("ConnectError", "", _HUB),
    ("ConnectionError", "", _HUB),
    ("HfHubHTTPError", "", _HUB),
    ("ImportError", "", _MISSING_PART),
    ("OSError", "", _NO_READ),
)
_REASONS: tuple[tuple[type[StudioError], str], ...] = (
    (DiskFull, "disk_full"),
    (Unavailable, "unavailable"),
    (NotFound, "not_found"),
    (Faults, "refused"),
    (Refused, "refused"),
)
# A refusal of the core -> a reason of its own, so that the page knows what to change; by the field at fault
_FIELDS = {
    "adapter.target_modules": "unknown_layers",
    "adapter.continue_from": "adapter_gone",
    "base.chat_template": "no_template",
}
# or by a part of its sentence
_SENTENCES = (
    ("is gated", "gated_model"),
    ("chat template is unsafe", "no_template"),
)


def explain(error: BaseException) -> Failure | None:
    """The failure that `error` stands for; None where it is a bug of ours and the log must tell."""
    if isinstance(error, StudioError):
        return Failure(str(getattr(error, "reason", "") or _reason(error)), error.problem, error.remedy)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _DISK_FULL
    names, text = {kind.__name__ for kind in type(error).__mro__}, str(error).lower()
    return next((failure for name, part, failure in TABLE if (not name or name in names) and part in text), None)


def _reason(error: StudioError) -> str:
    by_words = next((code for part, code in _SENTENCES if part in error.problem), None)
    by_kind = next((code for kind, code in _REASONS if isinstance(error, kind)), "failed")
    return _FIELDS.get(error.field) or by_words or by_kind


def leave(path: Path, failure: Failure, claim: int) -> bool:
    """Write the failure of attempt `claim` for the supervisor. False where the disk is too full even for that."""
    try:
        write_json(path, {**asdict(failure), "claim": claim})
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True


def bug(short_id: str) -> Failure:
    """The failure for what nobody foresaw: the id stands in the log beside the traceback."""
    return Failure(
        "bug", f"Training ended with a fault of Tunesmith itself ({short_id}).", "The log has its traceback; report it."
    )
