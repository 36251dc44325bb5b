"""The gate's last question: do a model's tokenizer and template work? Asked of the sandbox, once for each."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.artifacts import read_json, write_json
from studio.core.chat_templates import AUTO
from studio.core.model_facts import ModelFacts
from studio.core.model_folder import TEXTS
from studio.core.models import tokenizer_folder
from studio.core.reader import ask
from studio.core.settings import Settings


def check_model(settings: Settings, facts: ModelFacts, template: str = AUTO) -> Mapping[str, Any]:
    """What `studio.importing.model_check` found; empty for a starter model that is not here yet (it is ours).

    Fetches the tokenizer of a Hub model. Raises `Refused` where the model can not be used, `Unavailable` where the Hub
    is needed and does not answer.
    """
    ref = facts.ref
    if ref.folder is None and ref.source != "hub":
        return {}
    folder = ref.folder or tokenizer_folder(ref.repo, ref.revision, settings)
    path = settings.models_dir / "checked" / f"{_key(folder, facts, template)}.json"
    found: dict[str, Any] | None = read_json(path)
    if found is None:
        found = ask({"do": "model", "model": str(folder), "template": template, "name": ref.name}, settings)
        write_json(path, found)
    return found


def _key(folder: Path, facts: ModelFacts, template: str) -> str:
    """Another one for other files: a folder of this machine may change while the studio runs."""
    texts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for name in TEXTS
             if (path := folder / name).is_file()]  # fmt: skip
    seen = texts if facts.ref.source != "hub" else []
    return hashlib.sha256(json.dumps([facts.ref.repo, facts.ref.revision, template, seen]).encode()).hexdigest()[:32]
