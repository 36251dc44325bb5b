"""A Hub dataset: looked at, its first rows shown, its splits brought into an upload that the import then reads."""

import os
import shutil
from dataclasses import dataclass
from typing import Any

from studio.core import hub_datasets
from studio.core.artifacts import new_id, sync, write_json
from studio.core.errors import Refused
from studio.core.hub import OnProgress
from studio.core.hub_child import checked_token
from studio.core.hub_datasets import HubDataset, Remote
from studio.core.services import Services
from studio.core.use_cases.upload import Inspection


@dataclass(frozen=True)
class Choice:
    """What a person takes of a Hub dataset. Empty: the default configuration, its train split, no split to check with.

    `revision` is the commit that was looked at, so that what comes is what was shown.
    """

    repo: str
    config: str = ""
    split: str = ""
    check_split: str = ""
    revision: str = "main"


def look(services: Services, owner: str, repo: str, token: str | None = None, revision: str = "main") -> HubDataset:
    """What there is to choose from. Raises `Refused`, `Unavailable`."""
    return hub_datasets.look(services.settings, repo, revision, _token(services, token))


def head(services: Services, owner: str, choice: Choice, token: str | None = None) -> Inspection:
    """What the first rows of the chosen split are, before the whole is brought: no upload is made of them."""
    token = _token(services, token)
    dataset = hub_datasets.look(services.settings, choice.repo, choice.revision, token)
    files = dataset.files(choice.config, choice.split)
    return Inspection.of("", dataset.repo, hub_datasets.head(services.settings, dataset, files[0], token))


def bring(
    services: Services, owner: str, choice: Choice, token: str | None = None, on_progress: OnProgress | None = None
) -> str:
    """Fetch the chosen splits whole into an upload of `owner`; its id.

    `on_progress` gets the share of bytes and words; raising in it cancels. Nothing is left of what did not come whole.
    Raises `Refused` (unknown, gated, too large), `Unavailable` (no Hub, no space).
    """
    token = _token(services, token)
    dataset = hub_datasets.look(services.settings, choice.repo, choice.revision, token)
    parts = _parts(dataset, choice)
    upload_id = new_id()
    final = services.artifacts.upload_dir() / upload_id
    building = final.with_name(f".{upload_id}.part")
    building.mkdir(parents=True, mode=0o700)
    try:
        files = {part["file"]: remote for part, remote in parts}
        hub_datasets.fetch(services.settings, dataset, files, building, token, on_progress)
        about = {"owner": owner, "name": dataset.repo, "parts": [part for part, _ in parts],
                 "hub": _provenance(dataset, choice)}  # fmt: skip
        write_json(building / "upload.json", about)
        building.rename(final)
        sync(final.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return upload_id


def _parts(dataset: HubDataset, choice: Choice) -> list[tuple[dict[str, Any], Remote]]:
    """The files to bring, each as a part of the upload. A file that stands in both splits is refused."""
    split = dataset.split(choice.config, choice.split)
    wanted: list[tuple[Remote, str | None]] = [(remote, None) for remote in dataset.files(choice.config, split)]
    if not choice.check_split:
        return _numbered(wanted)
    if choice.check_split == split:
        raise Refused("One split is chosen to learn from and to check with.", "Choose another.", field="check_split")
    checked = dataset.files(choice.config, choice.check_split)
    if {remote.path for remote in checked} & {remote.path for remote, _ in wanted}:
        raise Refused(
            f"The splits {split[:40]!r} and {choice.check_split[:40]!r} are the same files.",
            "Choose another split to check with, or none.", field="check_split",
        )  # fmt: skip
    return _numbered([*((remote, "train") for remote, _ in wanted), *((remote, "eval") for remote in checked)])


def _numbered(wanted: list[tuple[Remote, str | None]]) -> list[tuple[dict[str, Any], Remote]]:
    return [
        ({"file": f"part-{number:05}", "name": remote.name, "split": split}, remote)
        for number, (remote, split) in enumerate(wanted, 1)
    ]


def _provenance(dataset: HubDataset, choice: Choice) -> dict[str, Any]:
    config = dataset.config(choice.config)
    chosen = {"config": config, "split": dataset.split(config, choice.split), "check_split": choice.check_split}
    return {"repo": dataset.repo, "commit": dataset.commit, "licence": dataset.licence, **chosen}


def suggested(dataset: HubDataset) -> Choice:
    """What the form shows first: the default configuration, train, and the Hub's own split to check with."""
    config = dataset.config()
    split = dataset.split(config)
    return Choice(dataset.repo, config, split, dataset.check_split(config, split), dataset.commit)


def _token(services: Services, token: str | None) -> str | None:
    """The person's token; the operator's where only this machine reaches the studio, so that the two are one."""
    given = checked_token(token)
    if given is None and services.settings.is_loopback:
        return checked_token(os.environ.get("HF_TOKEN"))
    return given
