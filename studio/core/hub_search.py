"""Searching models on the Hub: for the type-ahead of the form, and near names for one that does not exist.

Asked while a person types or has chosen, never while a page loads; each request ends after seconds.
"""

import difflib
from dataclasses import dataclass
from typing import Any

from studio.core import hub
from studio.core.errors import StudioError
from studio.core.hub_models import licence_of

# After `studio.core.hub`, which sets how huggingface_hub behaves.
from huggingface_hub import ModelInfo  # isort: skip
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # isort: skip

MOST = 12
TIMEOUT_S = 4.0
LONGEST_WORDS = 96
EXPAND = ("downloads", "gated", "private", "safetensors", "tags")
NEAR = 0.6
_CUTS = 3


@dataclass(frozen=True)
class Found:
    """A row of the Hub's list. `parameters` and `downloads` are 0 and `licence` empty where the Hub does not say."""

    repo: str
    parameters: int
    licence: str
    downloads: int
    gated: bool


def search(words: str, most: int = MOST, timeout: float = TIMEOUT_S) -> list[Found]:
    """Models for text with safetensors whose id holds `words`, the most downloaded first; none where the Hub is off.

    Raises `HubUnreachable` where it does not answer within `timeout` seconds.
    """
    words = " ".join(words.split())[:LONGEST_WORDS]
    if not words or hub.is_offline():
        return []
    asked: dict[str, Any] = {
        "search": words, "pipeline_tag": "text-generation", "filter": "safetensors", "sort": "downloads",
        "limit": most, "expand": list(EXPAND),
    }  # fmt: skip
    # `HfApi.list_models` sends the same, but tries a busy Hub again for half a minute: too long for a person who types.

    def once() -> list[Found]:
        response = get_session().get(
            f"{hub.endpoint()}/api/models", params=asked, headers=build_hf_headers(token=False), timeout=timeout
        )
        hf_raise_for_status(response)
        return [_found(ModelInfo(**one)) for one in response.json()[:most]]

    return hub.patiently(once, hub.Subject(words, "main"), ())


def _found(info: ModelInfo) -> Found:
    total = info.safetensors.total if info.safetensors else 0
    return Found(info.id, total, licence_of(info.tags), info.downloads or 0, bool(info.gated))


def near_names(name: str, most: int = 3) -> list[str]:
    """Models on the Hub whose names are nearly `name`, the nearest first; none where the Hub can not be asked."""
    found: dict[str, str] = {}
    for words in _queries(name):
        try:
            found.update({one.repo.lower(): one.repo for one in search(words, 30, 3.0)})
        except StudioError:
            return []
        close = difflib.get_close_matches(name.lower(), found, most, NEAR)
        if close:
            return [found[one] for one in close]
    return []


def _queries(name: str) -> list[str]:
    """What is searched: the name without its owner, then the same cut at its last dashes."""
    word = name.rpartition("/")[2]
    queries = [word]
    for _ in range(_CUTS):
        word = word.rpartition("-")[0]
        if len(word) > 2:
            queries.append(word)
    return queries
