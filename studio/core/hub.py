"""The Hugging Face Hub: where it is, how patiently it is asked, and its errors as sentences.

The operator's own token would open gated models for everybody, so it is never sent; a person's lives only in the one
process that fetches with it, `studio.fetching`.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

# Read by huggingface_hub when it is imported, so they stand before that import and nowhere else.
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from studio.core.errors import Refused, StudioError, Unavailable

PUBLIC = "https://huggingface.co"
PAUSES = (1.0, 3.0, 9.0)
POLL_SECONDS = 0.25

OnProgress = Callable[[float, str], None]
T = TypeVar("T")


class HubUnreachable(Unavailable):
    """The Hub does not answer now. `reason` is the code that a run fails with."""

    reason = "hub_unreachable"


class NoModel(Refused):
    """No model of this name that anybody may know of: there is none, or it is private."""

    reason = "no_model"


class GatedModel(Refused):
    """The owner of a model gives it only to people who agreed on its `page`, and this one did not, or not any more."""

    reason = "gated_model"
    page = ""
    about: object = None  # what is known of it all the same: a `HubModel`


@dataclass(frozen=True)
class Subject:
    """What the Hub is asked about, for the sentences: a "model" or a "dataset" at a revision."""

    repo: str
    revision: str
    noun: str = "model"

    @property
    def page(self) -> str:
        """Its page on the public Hub."""
        return f"{PUBLIC}/datasets/{self.repo}" if self.noun == "dataset" else f"{PUBLIC}/{self.repo}"

    @property
    def field(self) -> str:
        """The field of the form that names it."""
        return "repo" if self.noun == "dataset" else "base.repo"

    @property
    def revision_field(self) -> str:
        """The field of the form that names its revision."""
        return "revision" if self.noun == "dataset" else "base.revision"

    @property
    def here(self) -> str:
        """What to do without the Hub."""
        return "Upload a file instead." if self.noun == "dataset" else "Choose a model on this machine."


def is_hub_id(text: str) -> bool:
    """Whether `text` has the shape `owner/name` of an exact Hub id."""
    if text.count("/") != 1:
        return False
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def patiently(call: Callable[[], T], subject: Subject, pauses: tuple[float, ...]) -> T:
    """`call`, tried again after each of `pauses` (seconds) as long as the Hub is only out of reach."""
    if is_offline():
        raise offline(subject)
    for pause in (*pauses, None):
        try:
            with _translated(subject):
                return call()
        except HubUnreachable:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last pause is None")


@contextmanager
def _translated(subject: Subject) -> Iterator[None]:
    """The one table from the Hub's errors to sentences."""
    repo, noun = subject.repo, subject.noun
    try:
        yield
    except StudioError:
        raise
    except GatedRepoError as error:
        raise gated(subject) from error
    except RepositoryNotFoundError as error:
        raise _unknown(subject) from error
    except RevisionNotFoundError as error:
        problem = f"The {noun} {repo!r} has no revision {subject.revision!r}."
        raise Refused(
            problem, "Give a branch, tag or commit that it has, such as main.", field=subject.revision_field
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, FileMetadataError) as error:
        raise _unreachable(subject) from error
    except EntryNotFoundError as error:
        raise Refused(
            f"A file of {repo!r} is gone from the Hub.", "Choose another revision.", field=subject.field
        ) from error
    except (HTTPError, OSError, ValueError) as error:
        raise _foreign(error, subject) from error


def _foreign(error: Exception, subject: Subject) -> StudioError:
    """An HTTP or system error as ours: who is at fault decides whether trying again may help."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in {401, 403}:
            return Refused(
                f"The Hub does not let this token read the {subject.noun} {subject.repo!r}.",
                "Copy it again, or make one with the right to read, at huggingface.co/settings/tokens.",
                field="token",
            )
        if status != 429 and status < 500 and status != 408:
            problem = f"The Hub refuses the {subject.noun} {subject.repo!r} (HTTP {status})."
            return Refused(problem, "Choose another.", field=subject.field)
    elif isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        problem = f"No space is left on the disk for this {subject.noun}."
        return Unavailable(problem, "Free some space, then try again.")
    return _unreachable(subject)


def _unreachable(subject: Subject) -> HubUnreachable:
    here = subject.here[:1].lower() + subject.here[1:]
    return HubUnreachable("The Hub does not answer.", f"Try again in a minute, or {here}")


def _unknown(subject: Subject) -> Refused:
    if subject.noun == "model":
        return no_model(subject.repo, " on the Hub")
    return Refused(
        f"No dataset called {subject.repo[:200]!r} on the Hub.",
        "Give an exact Hub id such as owner/name; a private one needs a token that may read it.",
        field=subject.field,
    )


def no_model(name: str, where: str = "", near: Sequence[str] = ()) -> NoModel:
    """The refusal of a name that means nothing; `where` follows it (" on the Hub"), `near` are names like it."""
    remedy = "Choose the starter model, a folder on this machine, or an exact Hub id such as owner/name."
    if near:
        *others, last = near
        remedy = f"Did you mean {' or '.join([', '.join(others), last] if others else [last])}?"
    return NoModel(f"No model called {name[:200]!r}{where}.", remedy, field="base.repo")


def gated(subject: Subject, about: object = None) -> Refused:
    """The refusal of what its owner gives only to people who agreed; the page to agree on stands in it."""
    problem = f"The {subject.noun} {subject.repo!r} is gated: its owner asks for an agreement first ({subject.page})."
    if subject.noun == "dataset":
        return Refused(
            problem, "Agree on that page, then give a token of your account that may read it.", field="token"
        )
    closed = GatedModel(
        problem, "Agree on that page, then fetch it with a token of your account, or choose another.", field="base.repo"
    )
    closed.page, closed.about = subject.page, about
    return closed


def is_offline() -> bool:
    """Whether the operator has switched the Hub off."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def offline(subject: Subject) -> HubUnreachable:
    """The refusal of a studio that may not ask the Hub."""
    return HubUnreachable("The Hub is switched off here (HF_HUB_OFFLINE).", subject.here)


def endpoint() -> str:
    """Where the Hub is: `HF_ENDPOINT`, read at each call."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or PUBLIC
