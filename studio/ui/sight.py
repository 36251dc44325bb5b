"""What the sandbox was asked of a dataset, kept for a while: leafing back and switching the view ask it once."""

import json
import threading
from collections import OrderedDict
from typing import Any

from studio.core.catalog import STARTER_REPO
from studio.core.comparing import learns
from studio.core.config import RunConfig, parse_config
from studio.core.models import here, tokenizer_folder
from studio.core.reader import ask
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.counting import count

MOST_KEPT = 64


class Sight:
    """Examples as a model reads them, and how long they are. Safe for several threads."""

    def __init__(self, services: Services) -> None:
        """Nothing is kept yet."""
        self._services = services
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def config(self, repo: str, longest: int) -> RunConfig:
        """The defaults with a base model that is here (else the starter model) and examples cut at `longest` tokens."""
        refs = {ref.repo: ref for ref in here(self._services.settings)}
        chosen = refs.get(repo) or refs[STARTER_REPO]
        base = {"repo": chosen.repo, "revision": chosen.revision}
        return parse_config({"base": base, "training": {"max_length": longest}})

    def facts(self, repo: str, longest: int) -> dict[str, Any]:
        """What a finding of the model depends on: `repo` and `revision` of the one that is here, and `max_length`."""
        config = self.config(repo, longest)
        return {"repo": config.base.repo, "revision": config.base.revision, "max_length": config.training.max_length}

    def example(self, dataset: DatasetVersion, repo: str, longest: int, index: int) -> dict[str, Any]:
        """The preview of example `index` (from 0). Raises `StudioError`, for a starter model that is not here too."""
        return self.taught(dataset, self.config(repo, longest), index)

    def taught(self, dataset: DatasetVersion, config: RunConfig, index: int) -> dict[str, Any]:
        """Example `index` (from 0) as a run with this config is taught it. Raises `StudioError`, as `example` does."""
        base, training = config.base, config.training
        wishes = {
            "index": index,
            "max_length": training.max_length,
            "learn": learns(config.method.name, config.method.learn),
            "template": base.chat_template,
            "eval_share": training.eval_share,
            "seed": training.seed,
        }
        key = json.dumps([dataset.id, base.repo, base.revision, wishes], sort_keys=True)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        folder = tokenizer_folder(base.repo, base.revision, self._services.settings)
        data = str(self._services.artifacts.data_parquet(dataset.id))
        found = ask({"do": "preview", "data": data, "model": str(folder), **wishes}, self._services.settings)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def lengths(self, dataset: DatasetVersion, repo: str, longest: int) -> dict[str, Any]:
        """The counts of all examples, cut at `longest` tokens. Raises `StudioError`."""
        return count(self._services, dataset, self.config(repo, longest))
