"""The Hugging Face Hub: what a model there consists of, and its files brought here. All that speaks HTTP to it.

Models never come with a token: the operator's own would fetch gated ones for everybody (a person's token for a dataset
lives in the one process that fetches it, `studio.fetching`). Every call names a pinned commit, waits
a bounded time, and tries again with growing pauses where the Hub is only busy.
"""

import errno
import glob
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

# Read by huggingface_hub when it is imported, so they stand before that import and nowhere else.
os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
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

from studio.core.artifacts import folder_bytes
from studio.core.errors import Refused, StudioError, Unavailable

PUBLIC = "https://huggingface.co"
PAUSES = (1.0, 3.0, 9.0)
POLL_SECONDS = 0.25

OnProgress = Callable[[float, str], None]
T = TypeVar("T")


class HubUnreachable(Unavailable):
    """The Hub does not answer now. `reason` is the code that a run fails with."""

    reason = "hub_unreachable"


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


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub at one commit. `files`: names to sizes in bytes; `hashes`: sha256 of the large ones."""

    repo: str
    commit: str
    files: Mapping[str, int]
    hashes: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    licence: str = ""


def is_hub_id(text: str) -> bool:
    """Whether `text` has the shape `owner/name` of an exact Hub id."""
    if text.count("/") != 1:
        return False
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def ask(repo: str, revision: str, *, timeout: float = 10, pauses: tuple[float, ...] = PAUSES[:1]) -> HubModel:
    """What `repo` is at `revision` (branch, tag or commit), with the commit pinned; `timeout` in seconds for each try.

    Refused where there is no such model or revision, or where it is gated; HubUnreachable where nobody answers.
    """
    api = HfApi(endpoint=endpoint(), token=False)

    def once() -> HubModel:
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=timeout, token=False)
        if info.gated:
            raise gated(Subject(repo, revision))
        siblings = info.siblings or []
        hashes = {s.rfilename: s.lfs.sha256 for s in siblings if s.lfs}
        files = {s.rfilename: s.size or 0 for s in siblings}
        total = info.safetensors.total if info.safetensors else 0
        licence = next((tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")), "")
        return HubModel(info.id or repo, str(info.sha), files, hashes, total, licence)

    return _patiently(once, repo, revision, pauses)


def small_files(model: HubModel, names: list[str], settings_hub: Path) -> Path:
    """The snapshot folder in the cache `settings_hub`, with at least `names` in it (each fetched where it is not)."""

    def once() -> Path:
        paths = [
            hf_hub_download(
                model.repo, name, revision=model.commit, cache_dir=settings_hub, endpoint=endpoint(), token=False
            )
            for name in names
        ]
        return Path(paths[0]).parent

    return _patiently(once, model.repo, model.commit, PAUSES[:1])


def download(
    model: HubModel, names: list[str], on_progress: OnProgress, *, cache: Path | None = None, into: Path | None = None
) -> Path:
    """Bring `names` of `model` here, to the Hub cache `cache` or plainly into the folder `into`; gives the folder.

    Every file's size and, where the Hub tells it, hash is checked afterwards. `on_progress` is called in this thread
    with the share of bytes; what it raises ends the wait (the transfer itself ends with the process).
    """
    total = sum(model.files[name] for name in names)
    watched = into or (cache or Path()) / f"models--{model.repo.replace('/', '--')}"
    before = 0 if into else folder_bytes(watched)

    def once() -> Path:
        folder = snapshot_download(
            model.repo, revision=model.commit, cache_dir=cache, local_dir=into, endpoint=endpoint(), token=False,
            allow_patterns=[glob.escape(name) for name in names], max_workers=4,
        )  # fmt: skip
        _check_files(model, names, Path(folder))
        return Path(folder)

    def tell() -> None:
        came = min(total, max(0, folder_bytes(watched) - before))
        on_progress(came / max(1, total), f"{came / 1e6:,.0f} of {total / 1e6:,.0f} MB from the Hub")

    return _watched(lambda: _patiently(once, model.repo, model.commit, PAUSES), tell)


def _check_files(model: HubModel, names: list[str], folder: Path) -> None:
    """Refuse a file of the wrong length or hash, and take it away, so that the next try fetches it again."""
    for name in names:
        path = folder / name
        right = path.is_file() and path.stat().st_size == model.files[name]
        if right and name in model.hashes:
            with path.open("rb") as source:
                right = hashlib.file_digest(source, "sha256").hexdigest() == model.hashes[name]
        if not right:
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise HubUnreachable(f"The file {name!r} of {model.repo!r} arrived damaged.", "Try again.")


def _watched(call: Callable[[], T], tell: Callable[[], None]) -> T:
    """`call` in a thread of its own, `tell` here every quarter of a second until it is done."""
    done: list[T] = []
    failed: list[BaseException] = []

    def body() -> None:
        try:
            done.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=body, name="hub-download", daemon=True)
    thread.start()
    while thread.is_alive():
        tell()
        thread.join(POLL_SECONDS)
    if failed:
        raise failed[0]
    tell()
    return done[0]


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


def _patiently(call: Callable[[], T], repo: str, revision: str, pauses: tuple[float, ...]) -> T:
    return patiently(call, Subject(repo, revision), pauses)


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
        if status in {401, 403} and subject.noun == "dataset":
            return Refused(
                f"The Hub does not let this token read the dataset {subject.repo!r}.",
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


def no_model(name: str, where: str = "") -> Refused:
    """The refusal of a name that means nothing; `where` follows it (" on the Hub")."""
    return Refused(
        f"No model called {name[:200]!r}{where}.",
        "Choose the starter model, a folder on this machine, or an exact Hub id such as owner/name.",
        field="base.repo",
    )


def gated(subject: Subject) -> Refused:
    """The refusal of what its owner gives only to people who agreed; the page to agree on stands in it."""
    remedy = "Choose an open model, or download it yourself and give its folder."
    if subject.noun == "dataset":
        remedy = "Agree on that page, then give a token of your account that may read it."
    return Refused(
        f"The {subject.noun} {subject.repo!r} is gated: its owner asks for an agreement first ({subject.page}).",
        remedy,
        field="token" if subject.noun == "dataset" else subject.field,
    )


def is_offline() -> bool:
    """Whether the operator has switched the Hub off."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def offline(subject: Subject) -> HubUnreachable:
    """The refusal of a studio that may not ask the Hub."""
    return HubUnreachable("The Hub is switched off here (HF_HUB_OFFLINE).", subject.here)


def endpoint() -> str:
    """Where the Hub is: `HF_ENDPOINT`, read at each call."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or PUBLIC
