"""Datasets on the Hub: what there is, the first rows, whole splits. Asked of two processes, so that neither can harm.

`studio.fetching` has the network and the person's token and parses no one's file; the reading sandbox has neither
network nor token and does the parsing. This process only passes names, numbers and places between them.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from studio.core import hub, reader
from studio.core.artifacts import Artifacts
from studio.core.errors import Refused
from studio.core.formats import split_of
from studio.core.hub import OnProgress, Subject
from studio.core.hub_child import HubChild, checked_token
from studio.core.settings import Settings

_FIRST = 1 << 20
_ROUNDS = 6
_SLACK = 16 << 20
_PREFIXES = ("https://huggingface.co/datasets/", "huggingface.co/datasets/", "hf.co/datasets/", "datasets/")


@dataclass(frozen=True)
class Remote:
    """A data file on the Hub: its path there, size in bytes, address, and sha256 or git's hash."""

    path: str
    size: int
    url: str
    sha256: str = ""
    oid: str = ""

    @property
    def name(self) -> str:
        """Its name without folders. Hostile text, never a name on this disk."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class HubDataset:
    """A dataset at one commit. `configs`: configuration to split to files, the default first.

    `left_out`: endings of files that are no data for the studio, with their counts; `warnings`: sentences.
    """

    repo: str
    commit: str
    licence: str
    gated: bool
    configs: Mapping[str, Mapping[str, tuple[Remote, ...]]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    private: bool = False

    @property
    def total(self) -> int:
        """Bytes of all its data files; one that stands in several places counts once."""
        files = {file.path: file.size for splits in self.configs.values() for some in splits.values() for file in some}
        return sum(files.values())

    def config(self, name: str = "") -> str:
        """The configuration called `name`, or the default where it is empty. Raises `Refused`."""
        chosen = name or next(iter(self.configs))
        if chosen not in self.configs:
            raise Refused(f"{self.repo} has no configuration {name[:80]!r}.", _choose(self.configs), field="config")
        return chosen

    def split(self, config: str, name: str = "") -> str:
        """The split called `name`, or the one to learn from (train, else the first). Raises `Refused`."""
        splits = self.configs[self.config(config)]
        chosen = name or next((split for split in splits if split_of(split) == "train"), next(iter(splits)))
        if chosen not in splits:
            raise Refused(f"{self.repo} has no split {name[:80]!r}.", _choose(splits), field="split")
        return chosen

    def check_split(self, config: str, learnt: str) -> str:
        """The Hub's own split to check with, beside the one that is learnt; empty where there is none."""
        splits = self.configs[self.config(config)]
        ordered = sorted(splits, key=lambda split: not split.startswith("val"))
        return next((split for split in ordered if split != learnt and split_of(split) == "eval"), "")

    def files(self, config: str, split: str) -> tuple[Remote, ...]:
        """The files of a split, in order. Raises `Refused`."""
        return self.configs[self.config(config)][self.split(config, split)]


def _choose(names: Mapping[str, Any]) -> str:
    shown = [repr(name[:40]) for name in list(names)[:8]]
    return f"Choose {shown[0]}." if len(shown) == 1 else f"Choose one of {', '.join(shown)}."


def repo_in(text: str) -> str:
    """The id in what a person typed or copied from the address bar. Raises `Refused` where it is none."""
    name = text.strip()
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            name = "/".join(name.removeprefix(prefix).partition("?")[0].split("/")[:2])
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        problem = f"{text.strip()[:200]!r} is no id of a Hub dataset."
        raise Refused(problem, "Give an exact Hub id such as owner/name.", field="repo") from error
    return name


def look(settings: Settings, repo: str, revision: str = "main", token: str | None = None) -> HubDataset:
    """What `repo` is at `revision`, with the commit pinned. `token` is used for this and kept nowhere.

    Raises `Refused` where there is no such dataset, where it asks for an agreement or holds nothing that the studio
    reads; `HubUnreachable` where nobody answers.
    """
    repo = repo_in(repo)
    with _scratch(settings) as folder:
        listing = Path(folder) / "listing.json"
        network = HubChild(Subject(repo, revision, "dataset"), checked_token(token), hub.PAUSES[:1])
        found = network.ask({"do": "list", "out": str(listing)}, 256 << 20)
        parts = reader.ask({"do": "splits", "source": str(listing), "name": found["repo"]}, settings)
    files, base = found["files"], f"{hub.endpoint()}/datasets/{found['repo']}/resolve/{found['commit']}"
    configs = {}
    for name, splits in parts["configs"].items():
        kept = {
            split: tuple(Remote(path, url=f"{base}/{path}", **files[path]) for path in paths if files[path]["size"])
            for split, paths in splits.items()
        }
        configs[name] = {split: some for split, some in kept.items() if some}
    configs = {name: splits for name, splits in configs.items() if splits}
    if not configs:
        raise Refused(f"All data files of {found['repo']!r} are empty.", "Choose another dataset.", field="repo")
    return HubDataset(
        found["repo"], found["commit"], found["licence"], found["gated"], configs, parts["left_out"],
        tuple(parts["warnings"]), found["private"],
    )  # fmt: skip


def head(settings: Settings, dataset: HubDataset, file: Remote, token: str | None = None) -> dict[str, Any]:
    """What the reading sandbox makes of the first rows of `file` (see its `inspect`), after a megabyte or so came."""
    with _scratch(settings) as folder:
        rows = Path(folder) / "rows"
        name = first_rows(settings, dataset, file, token, rows)
        return reader.ask({"do": "inspect", "source": str(rows), "name": name}, settings)


def first_rows(settings: Settings, dataset: HubDataset, file: Remote, token: str | None, out: Path) -> str:
    """Write a small whole file with the first rows of `file` to `out`; the name it goes by (unpacked: without `.gz`).

    Raises `Refused` where it is damaged or its first row is too long.
    """
    network = HubChild(_subject(dataset), checked_token(token), hub.PAUSES[:1])
    footer = file.path.lower().endswith(".parquet")
    need = [(max(0, file.size - _FIRST // 16), file.size) if footer else (0, min(_FIRST, file.size))]
    have: list[tuple[int, int]] = []
    with _scratch(settings) as folder:
        body = Path(folder) / "body"
        with body.open("wb") as empty:
            empty.truncate(file.size)
        asked: dict[str, Any] = {
            "do": "head",
            "source": str(body),
            "name": file.name,
            "size": file.size,
            "out": str(out),
        }
        asked["parts"] = [{"source": str(out), "name": file.name}]  # the limits follow what comes, not the full size
        for _ in range(_ROUNDS):
            request = {"do": "ranges", "path": file.path, "ranges": need, "out": str(body)}
            network.ask(request, file.size + _SLACK)
            have = _joined([*have, *need])
            said = reader.ask({**asked, "have": have}, settings)
            if "name" in said:
                return str(said["name"])
            need = [(int(start), int(end)) for start, end in said["need"]]
    raise Refused(f"The first rows of {file.name[:80]!r} can not be shown before the import.", "Import it unseen.")


def fetch(
    settings: Settings, dataset: HubDataset, files: Mapping[str, Remote], into: Path, token: str | None = None,
    on_progress: OnProgress | None = None,
) -> None:  # fmt: skip
    """Bring `files` (name on this disk -> file there) whole and checked into the folder `into`.

    `on_progress` gets the share of bytes and words; what it raises ends the transfer. Raises `Refused` beyond the
    limit of an upload.
    """
    total = sum(file.size for file in files.values())
    if total > settings.max_upload_bytes:
        raise Refused(
            f"{dataset.repo} has {_size_words(total)} here; {_size_words(settings.max_upload_bytes)} is the limit.",
            "Choose a smaller split or configuration, or raise TUNESMITH_MAX_UPLOAD_BYTES.", field="split",
        )  # fmt: skip
    wanted = [
        {"path": file.path, "size": file.size, "sha256": file.sha256, "oid": file.oid, "file": name}
        for name, file in files.items()
    ]
    largest = max(file.size for file in files.values())
    network = HubChild(_subject(dataset), checked_token(token), hub.PAUSES)
    network.ask({"do": "whole", "files": wanted, "out": str(into)}, largest + _SLACK, on_progress)


def _subject(dataset: HubDataset) -> Subject:
    return Subject(dataset.repo, dataset.commit, "dataset")


def _size_words(number: int) -> str:
    units = ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)
    unit, size = next(((unit, size) for unit, size in units if number >= size), units[-1])
    return f"{number / size:,.1f} {unit}"


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes as ranges that do not touch."""
    whole: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if whole and first <= whole[-1][1]:
            whole[-1] = whole[-1][0], max(last, whole[-1][1])
        else:
            whole.append((first, last))
    return whole


def _scratch(settings: Settings) -> "tempfile.TemporaryDirectory[str]":
    """A folder beside the uploads; what a death leaves of it is swept with them."""
    home = Artifacts(settings.data_dir).upload_dir()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.TemporaryDirectory(prefix=".hub-", dir=home)
