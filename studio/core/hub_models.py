"""Models on the Hub: what one consists of, its small files, the headers of its weights, and all of it brought here.

Every call names a pinned commit, waits a bounded time, and tries again with growing pauses where the Hub is only busy.
"""

import glob
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from studio.core import hub
from studio.core.artifacts import folder_bytes
from studio.core.errors import Refused

# After `studio.core.hub`, which sets how huggingface_hub behaves.
from huggingface_hub import HfApi, ModelInfo, hf_hub_download, snapshot_download  # isort: skip
from huggingface_hub.errors import SafetensorsParsingError  # isort: skip

T = TypeVar("T")


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub at one commit. `files`: names to sizes in bytes; `hashes`: sha256 of the large ones."""

    repo: str
    commit: str
    files: Mapping[str, int]
    hashes: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    licence: str = ""
    downloads: int = 0
    gated: bool = False
    private: bool = False


def ask(
    repo: str,
    revision: str,
    *,
    timeout: float = 10,
    pauses: tuple[float, ...] | None = None,
    token: str | None = None,
) -> HubModel:
    """What `repo` is at `revision` (branch, tag or commit), with the commit pinned; `timeout` in seconds for each try.

    Refused where there is no such model or revision; `hub.GatedModel` where it is gated and `token` (a person's, only
    ever given by `studio.fetching`) does not open it; `hub.HubUnreachable` where nobody answers.
    """
    api = HfApi(endpoint=hub.endpoint(), token=token or False)
    subject = hub.Subject(repo, revision)

    def once() -> HubModel:
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=timeout, token=token or False)
        found = _model_of(info, repo)
        if found.gated and not token:
            raise hub.gated(subject, found)
        if found.gated:
            api.auth_check(repo)
        return found

    return hub.patiently(once, subject, hub.PAUSES[:1] if pauses is None else pauses)


def _model_of(info: ModelInfo, repo: str) -> HubModel:
    siblings = info.siblings or []
    return HubModel(
        repo=info.id or repo,
        commit=str(info.sha),
        files={one.rfilename: one.size or 0 for one in siblings},
        hashes={one.rfilename: one.lfs.sha256 for one in siblings if one.lfs},
        parameters=info.safetensors.total if info.safetensors else 0,
        licence=licence_of(info.tags),
        downloads=info.downloads or 0,
        gated=bool(info.gated),
        private=bool(info.private),
    )


def licence_of(tags: list[str] | None) -> str:
    """The licence that a repo's tags name; empty where they name none."""
    return next((tag.partition(":")[2] for tag in tags or [] if tag.startswith("license:")), "")


def small_files(model: HubModel, names: list[str], cache: Path, *, token: str | None = None) -> Path:
    """The snapshot folder in the Hub cache `cache`, with at least `names` in it (each fetched where it is not)."""

    def once() -> Path:
        paths = [
            hf_hub_download(
                model.repo, name, revision=model.commit, cache_dir=cache, endpoint=hub.endpoint(), token=token or False
            )
            for name in names
        ]
        return Path(paths[0]).parent

    return hub.patiently(once, _subject(model), hub.PAUSES[:1])


def tensor_shapes(model: HubModel, parts: tuple[str, ...], *, timeout: float = 10) -> dict[str, tuple[int, ...]]:
    """The tensors of some safetensors files with their shapes, by the headers alone (100 KB of each at first).

    Refused where a header is not one; HubUnreachable where the Hub does not answer.
    """
    api = HfApi(endpoint=hub.endpoint(), token=False)

    def once() -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for part in parts:
            told = api.parse_safetensors_file_metadata(
                model.repo, part, revision=model.commit, token=False, timeout=timeout
            )
            found.update({name: tuple(tensor.shape) for name, tensor in told.tensors.items()})
        return found

    try:
        return hub.patiently(once, _subject(model), ())
    except SafetensorsParsingError as error:
        problem = f"The weights of {model.repo!r} are damaged."
        raise Refused(problem, "Choose another model.", field="base.repo") from error


def download(
    model: HubModel,
    names: list[str],
    on_progress: hub.OnProgress,
    *,
    cache: Path | None = None,
    into: Path | None = None,
    token: str | None = None,
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
            model.repo, revision=model.commit, cache_dir=cache, local_dir=into, endpoint=hub.endpoint(),
            token=token or False, allow_patterns=[glob.escape(name) for name in names], max_workers=4,
        )  # fmt: skip
        _check_files(model, names, Path(folder))
        return Path(folder)

    def tell() -> None:
        came = min(total, max(0, folder_bytes(watched) - before))
        on_progress(came / max(1, total), f"{came / 1e6:,.0f} of {total / 1e6:,.0f} MB from the Hub")

    return _watched(lambda: hub.patiently(once, _subject(model), hub.PAUSES), tell)


def _subject(model: HubModel) -> hub.Subject:
    return hub.Subject(model.repo, model.commit)


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
            raise hub.HubUnreachable(f"The file {name!r} of {model.repo!r} arrived damaged.", "Try again.")


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
        thread.join(hub.POLL_SECONDS)
    if failed:
        raise failed[0]
    tell()
    return done[0]
