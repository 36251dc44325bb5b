"""What the sandbox was asked of a dataset, kept for a while: leafing back and switching the view ask it once."""

import threading
from collections import OrderedDict
from typing import Any

from studio.core.catalog import STARTER_REPO
from studio.core.config import RunConfig, parse_config
from studio.core.models import here, tokenizer_folder
from studio.core.reader import ask
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.forecast import count

MOST_KEPT = 64


class Sight:
    """Examples as a model reads them, and how long they are. Safe for several threads."""

    def __init__(self, services: Services) -> None:
        """Nothing is kept yet."""
        self._services = services
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int], dict[str, Any]] = OrderedDict()

    def config(self, repo: str) -> RunConfig:
        """The defaults with a base model that is here; the starter model where `repo` is not one of those."""
        refs = {ref.repo: ref for ref in here(self._services.settings)}
        chosen = refs.get(repo) or refs[STARTER_REPO]
        return parse_config({"base": {"repo": chosen.repo, "revision": chosen.revision}})

    def example(self, dataset: DatasetVersion, repo: str, index: int) -> dict[str, Any]:
        """The preview of example `index` (from 0). Raises `StudioError`, for a starter model that is not here too."""
        key = (dataset.id, repo, index)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        config = self.config(repo)
        folder = tokenizer_folder(config.base.repo, config.base.revision, self._services.settings)
        request = {
            "do": "preview",
            "data": str(self._services.artifacts.data_parquet(dataset.id)),
            "model": str(folder),
            "index": index,
            "max_length": config.training.max_length,
        }
        found = ask(request, self._services.settings)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def lengths(self, dataset: DatasetVersion, repo: str) -> tuple[dict[str, Any], int]:
        """The counts of all examples, and at how many tokens they are cut. Raises `StudioError`."""
        config = self.config(repo)
        return count(self._services, dataset, config), config.training.max_length
