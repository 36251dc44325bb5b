"""A model that only a person's token opens: what it is, its small files, and all of it, into the cache of models."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.core import hub_models
from studio.core.hub_models import HubModel
from studio.core.model_folder import small_names

Progress = Callable[[float, str], None]


def answer(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """`do` is `model` (what it is, its small files brought) or `weights` (the `names` of `model`, as it was told).

    Raises `StudioError` where the token does not open it, or the Hub does not answer.
    """
    token, cache = request["token"], Path(request["cache"])
    if request["do"] == "weights":
        known = HubModel(**request["model"])
        return {"folder": str(hub_models.download(known, request["names"], progress, cache=cache, token=token))}
    model = hub_models.ask(request["repo"], request["revision"], pauses=tuple(request["pauses"]), token=token)
    names = small_names(model.files)
    folder = str(hub_models.small_files(model, names, cache, token=token)) if names else ""
    return {"model": asdict(model), "folder": folder}
