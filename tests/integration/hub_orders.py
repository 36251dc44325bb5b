"""Datasets on the stand-in Hub, open, gated and private."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from studio.core import hub
from studio.core.services import Services
from tests.integration.hub_server import Hub, Repo, serving

TOKEN = "hf_of_a_person_0123456789"
SETS = "acme/orders"
CARD = b"""---
license: mit
configs:
- config_name: extra
  data_files: extra/*.csv
- config_name: plain
  default: true
  data_files:
  - split: train
    path: data/train*
  - split: validation
    path: data/validation*
---
Words.
"""


def lines(count: int, first: int = 0) -> bytes:
    """JSONL of prompts and completions, about 100 bytes a row."""
    rows = ({"prompt": f"Question {i}", "completion": "An answer " * 5} for i in range(first, first + count))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def orders() -> dict[str, bytes]:
    return {
        "README.md": CARD,
        "data/train-1.jsonl": lines(100),
        "data/train-2.jsonl.gz": gzip.compress(lines(50, 100), mtime=0),
        "data/validation.jsonl": lines(20, 1000),
        "extra/a.csv": b"prompt,completion\na,b\n",
        "logo.png": b"\x89PNG",
    }


@contextmanager
def hub_of_orders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in Hub, without pauses between tries."""
    monkeypatch.setattr(hub, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with serving({}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        running.datasets = {
            SETS: Repo(orders(), licence="mit"),
            "acme/gated": Repo(orders(), gated=True, readers=(TOKEN,)),
            "acme/secret": Repo(orders(), private=True, readers=(TOKEN,)),
        }
        yield running


def left(services: Services) -> list[str]:
    """What stands among the uploads."""
    folder = services.artifacts.upload_dir()
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
