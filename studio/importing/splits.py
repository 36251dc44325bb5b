"""Which files of a Hub dataset belong to which configuration and split: the rules of `datasets`, over a list of names.

The library resolves its own patterns here, against a file system that holds names and nothing else; so nothing is
fetched, and no file of this machine can be named.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec  # type: ignore[import-untyped]
from datasets.data_files import DataFilesDict, EmptyDatasetError, get_data_patterns, sanitize_patterns
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from studio.core.errors import Refused
from studio.importing.heads import kind_of

_ROOT = "listing://dataset"
_SHOWN = 5

Splits = dict[str, list[str]]


class Listing(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """Names of files; `names` is set once, for this process serves one dataset."""

    protocol = "listing"
    cachable = False
    names: Mapping[str, dict[str, Any]] = {}

    def find(self, path: str, *_: Any, **__: Any) -> dict[str, dict[str, Any]]:
        """All files below `path`."""
        below = self._strip_protocol(path).rstrip("/") + "/"
        return {name: entry for name, entry in self.names.items() if name.startswith(below)}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """One file. Raises `FileNotFoundError`."""
        entry = self.names.get(self._strip_protocol(path))
        if entry is None:
            raise FileNotFoundError(path)
        return entry


def splits(source: Path, repo: str) -> dict[str, Any]:
    """`configs` (name -> split -> paths), the default first; `left_out` (ending -> count); `warnings`.

    Raises `Refused` where there is nothing that the studio reads.
    """
    listing = json.loads(source.read_text())
    files: list[str] = listing["files"]
    root = _ROOT.partition("://")[2]
    Listing.names = {f"{root}/{name}": {"name": f"{root}/{name}", "type": "file", "size": 0} for name in files}
    fsspec.register_implementation("listing", Listing, clobber=True)
    warnings: list[str] = []
    configs = {name: _readable(parts) for name, parts in _resolved(listing, warnings).items()}
    configs = {name: parts for name, parts in configs.items() if parts}
    if not configs:
        raise _nothing(files, repo)
    return {"configs": configs, "left_out": _left_out(files), "warnings": warnings}


def _resolved(listing: Mapping[str, Any], warnings: list[str]) -> dict[str, Splits]:
    """By the card where it says something, else by the names of files and folders."""
    try:
        card = _card(listing)
        described = MetadataConfigs.from_dataset_card_data(card)
        first = described.get_default_config_name()
    except Exception:  # a stranger's YAML: whatever the library trips over, the names are still there
        warnings.append("The settings in this dataset's card can not be read; its parts are told by their names.")
        described, first = MetadataConfigs(), None
    names = sorted(described, key=lambda name: name != first)
    found = {str(name): _config(described[name], warnings) for name in names}
    return found if any(found.values()) else {"default": _config({}, warnings)}


def _card(listing: Mapping[str, Any]) -> DatasetCardData:
    """The card's settings, and over them those of the file that holds nothing else."""
    texts = [listing["card"], f"---\n{listing['more']}\n---\n" if listing["more"].strip() else ""]
    both: dict[str, Any] = {}
    for text in filter(None, texts):
        both |= DatasetCard(text).data.to_dict()
    return DatasetCardData(**both)


def _config(described: Mapping[str, Any], warnings: list[str]) -> Splits:
    """The files of one configuration, by split."""
    base = _ROOT + "".join("/" + part for part in PurePosixPath(str(described.get("data_dir") or "")).parts)
    try:
        given = described.get("data_files")
        patterns = sanitize_patterns(given) if given is not None else get_data_patterns(base)
    except (EmptyDatasetError, ValueError):
        return {}
    found: Splits = {}
    for split, some in patterns.items():
        inside = [pattern for pattern in map(str, some) if _is_inside(pattern)]
        if len(inside) < len(some):
            warnings.append("The card names files outside of this dataset; they are left out.")
        paths: list[str] = []
        for pattern in inside:
            paths += _matching(pattern, base)
        found[str(split)] = list(dict.fromkeys(paths))
    return {split: paths for split, paths in found.items() if paths}


def _is_inside(pattern: str) -> bool:
    return not (":" in pattern or pattern.startswith(("/", "~")) or ".." in PurePosixPath(pattern).parts)


def _matching(pattern: str, base: str) -> list[str]:
    try:
        matched = DataFilesDict.from_patterns({"some": [pattern]}, base_path=base)["some"]
    except FileNotFoundError:
        return []
    return [str(path).removeprefix(_ROOT + "/") for path in matched]


def _readable(parts: Splits) -> Splits:
    """Of each split the files that the studio reads; of several kinds the commonest."""
    kept = {}
    for split, paths in parts.items():
        kinds = Counter(kind for path in paths if (kind := kind_of(path)))
        if kinds:
            commonest = kinds.most_common(1)[0][0]
            kept[split] = [path for path in paths if kind_of(path) == commonest]
    return kept


def _left_out(files: Iterable[str]) -> dict[str, int]:
    """Endings of what is no data for the studio, and how often, the commonest first."""
    endings = Counter(
        PurePosixPath(path).suffix.lower() for path in files if not kind_of(path) and PurePosixPath(path).suffix
    )
    return {ending: count for ending, count in endings.most_common(_SHOWN) if ending not in {".md", ".gitattributes"}}


def _nothing(files: list[str], repo: str) -> Refused:
    name = repo.rpartition("/")[2]
    if f"{name}.py" in files:
        problem = f"The dataset {repo!r} needs code of its own, which the studio never runs."
        return Refused(problem, "Choose one that consists of data files.", field="repo")
    found = ", ".join(f"{count:,} {ending}" for ending, count in _left_out(files).items())
    problem = f"The dataset {repo!r} has no file that the studio reads" + (f"; it holds {found}." if found else ".")
    kinds = "Parquet, Arrow, JSON, JSONL, CSV, TSV or text"
    return Refused(problem, f"Choose one with {kinds} files.", field="repo")
