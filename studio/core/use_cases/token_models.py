"""Gated and private models: brought here once with a person's token, which is kept nowhere.

The token goes to the one process that fetches, on its standard input. Afterwards the model lies here at its commit, for
that person alone, and no run of it needs a token.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.core import fetched, hub
from studio.core.disk import no_room_for
from studio.core.errors import Refused
from studio.core.hub_child import HubChild, checked_token
from studio.core.hub_models import HubModel
from studio.core.model_facts import ModelFacts
from studio.core.model_folder import check_names, inspect
from studio.core.models import keep_whole
from studio.core.services import Services

_SLACK = 64 << 20
_TEXTS_BYTES = 256 << 20


def fetch_with_token(
    services: Services, owner: str, repo: str, revision: str, token: str, on_progress: hub.OnProgress | None = None
) -> ModelFacts:
    """The model `repo` at `revision`, brought here whole for `owner`. `on_progress(share, words)`; raising cancels.

    Raises `Refused` (`GatedModel` where the token's account has no access, `NoModel` where it can see none), and
    `Unavailable` where the Hub does not answer or there is no room.
    """
    settings, repo, revision = services.settings, repo.strip(), revision.strip() or "main"
    given = checked_token(token)
    if given is None:
        raise Refused("No token was given.", "Copy one from huggingface.co/settings/tokens.", field="token")
    if not hub.is_hub_id(repo):
        raise hub.no_model(repo)
    cache = fetched.hub_cache(settings)
    cache.mkdir(parents=True, exist_ok=True)
    child = HubChild(hub.Subject(repo, revision), given, hub.PAUSES)
    model, folder = _look(child, cache)
    check_names(model.files, model.repo)
    found = inspect(folder, model.files, model.repo)
    to_fetch = sum(model.files[name] for name in found.names)
    if words := no_room_for(settings, to_fetch):
        raise Refused(*words, field="base.repo")
    asked = {"do": "weights", "model": asdict(model), "names": found.names, "cache": str(cache)}
    largest = max(model.files[name] for name in found.names)
    came = child.ask(asked, largest + _SLACK, on_progress)
    open_to = owner if model.gated or model.private else ""
    return keep_whole(model, Path(came["folder"]), revision, settings, found.names, open_to)


def _look(child: HubChild, cache: Path) -> tuple[HubModel, Path]:
    """What the model is, and the folder with its small files."""
    said: dict[str, Any] = child.ask({"do": "model", "cache": str(cache)}, _TEXTS_BYTES)
    return HubModel(**said["model"]), Path(said["folder"] or cache)
