"""Base models: what a name means, whether it can be trained here, and its folder on this machine. Torch-free.

Three kinds: the starter model, a folder on this machine (an absolute path), and an exact Hub id (`owner/name`). The Hub
is asked only here and only for a model that somebody chose, never while a page loads. A model from the Hub that was
fetched whole leaves a record in `models/hub/ready/`; with that, and a pinned commit, the Hub is never asked again.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.core import fetched, hub, hub_models, starter
from studio.core.catalog import STARTER_NAME, STARTER_PARAMETERS, STARTER_REPO, STARTER_WHEEL
from studio.core.errors import Refused, StudioError, Unavailable
from studio.core.fetched import hub_cache
from studio.core.hub import OnProgress
from studio.core.hub_search import near_names
from studio.core.model_build import Shape
from studio.core.model_facts import ModelFacts, ModelRef, Source, facts_of
from studio.core.model_folder import TEXTS, check_names, files_of, inspect, small_names
from studio.core.settings import Settings

__all__ = ["ModelFacts", "ModelRef", "here", "is_path", "is_starter", "look_up", "ready_folder", "tokenizer_folder"]

STARTER_CONTEXT = 8192
STARTER_BUILD: dict[str, Any] = {
    "model_type": "llama", "layers": 30, "hidden_size": 576, "intermediate_size": 1536, "heads": 9, "kv_heads": 3,
    "head_dim": 64, "vocab_size": 49152, "tied": True, "weight_bytes": 269_060_552,
    "shapes": {"down_proj": (576, 1536), "gate_proj": (1536, 576), "k_proj": (192, 576), "o_proj": (576, 576),
               "q_proj": (576, 576), "up_proj": (1536, 576), "v_proj": (192, 576)},
}  # fmt: skip
MOST_HEADERS = 4
LOCAL_REVISION = "local"


def look_up(repo: str, revision: str, settings: Settings, owner: str | None = None) -> ModelFacts:
    """What `repo` at `revision` is. Fetches at most the small files of a Hub model, and headers of its weights.

    A model that came by a person's token is known to that `owner` alone (None: the worker, to whom all are). Refused,
    with a sentence and the field, for what is unknown, gated or can not be trained here; Unavailable where the Hub is
    needed and does not answer.
    """
    repo, revision = repo.strip(), revision.strip() or "main"
    if is_starter(repo, revision, settings):
        return _starter_facts(settings)
    if is_path(repo):
        return _local_facts(repo)
    if not hub.is_hub_id(repo):
        raise hub.no_model(repo, near=near_names(repo))
    recorded = fetched.recorded(settings, repo, revision, owner)
    if recorded and recorded.ref.revision == revision:
        return recorded
    try:
        return _hub_facts(hub_models.ask(repo, revision), settings, owner)
    except (Unavailable, hub.GatedModel, hub.NoModel) as error:
        if recorded and (recorded.owner or isinstance(error, Unavailable)):
            return recorded
        if isinstance(error, hub.NoModel):
            raise hub.no_model(repo, " on the Hub", near_names(repo)) from error
        raise


def ready_folder(repo: str, revision: str, settings: Settings, on_progress: OnProgress | None = None) -> ModelRef:
    """The model with its folder on this machine, fetched now where it is not (`on_progress(share 0..1, words)`).

    Errors as for `look_up`, and Unavailable where the fetch fails: no half model is ever given.
    """
    tell = on_progress or (lambda share, words: None)
    repo, revision = repo.strip(), revision.strip() or "main"
    if is_starter(repo, revision, settings):
        starter.fetch(settings, tell)
        return _starter_facts(settings).ref
    facts = look_up(repo, revision, settings)
    return facts.ref if facts.is_here else _fetch(facts, revision, settings, tell)


def tokenizer_folder(repo: str, revision: str, settings: Settings) -> Path:
    """A folder with the model's tokenizer, template and config, for the preview; the weights may be missing.

    Unavailable for a starter model that is not here yet: its tokenizer comes with the whole.
    """
    repo, revision = repo.strip(), revision.strip() or "main"
    facts = look_up(repo, revision, settings)
    if facts.ref.folder:
        return facts.ref.folder
    if facts.ref.source != "hub":
        raise Unavailable("The starter model is not on this machine yet.", "Start the demo run: it fetches it.")
    model = hub_models.ask(facts.ref.repo, facts.ref.revision)
    return hub_models.small_files(model, [name for name in TEXTS if name in model.files], hub_cache(settings))


def here(settings: Settings, owner: str | None = None) -> list[ModelRef]:
    """The models that can be chosen without a network: the starter model first (also before it is fetched)."""
    kept = [facts.ref for facts in fetched.all_here(settings, owner)]
    return [_starter_facts(settings, checked=False).ref, *kept]


def is_starter(repo: str, revision: str, settings: Settings) -> bool:
    """Whether this names the starter model: its repo at `main`, or at what is recorded of the one that is here."""
    if repo != STARTER_REPO:
        return False
    recorded = (starter.source(settings) or {}).get("revision")
    return revision in {"main", STARTER_WHEEL.requirement, recorded}


def is_path(repo: str) -> bool:
    """Whether this means a folder on this machine, not a Hub id."""
    return repo.startswith(("/", "~/"))


def _starter_facts(settings: Settings, *, checked: bool = True) -> ModelFacts:
    """The starter model's facts: from the catalog before it is fetched, from its files (if `checked`) after."""
    came = starter.source(settings)
    folder = starter.starter_dir(settings) if came else None
    kind: Source = "starter-hub" if came and came.get("source") == "hub" else "starter-wheel"
    revision = str(came["revision"]) if came else "main"
    ref = ModelRef(STARTER_REPO, revision, kind, folder, STARTER_NAME)
    if folder is None or not checked:
        to_fetch = 0 if folder else starter.WHEEL_BYTES
        known = "LlamaForCausalLM", STARTER_PARAMETERS, STARTER_CONTEXT, "apache-2.0", to_fetch
        return ModelFacts(ref, *known, **STARTER_BUILD)
    return facts_of(ref, inspect(folder, files_of(folder), STARTER_NAME), "apache-2.0")


def _local_facts(repo: str) -> ModelFacts:
    """A folder on this machine, checked as it lies there. Messages name the folder, never the path to it."""
    try:
        folder = Path(repo).expanduser().resolve()
        files = files_of(folder) if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        files = None
    if files is None:
        raise Refused(
            "There is no folder of this name that can be read.",
            "Give the absolute path of a folder with config.json, safetensors weights and a tokenizer.",
            field="base.repo",
        )
    ref = ModelRef(str(folder), LOCAL_REVISION, "local", folder, folder.name)
    return facts_of(ref, inspect(folder, files, folder.name), "")


def _hub_facts(model: hub_models.HubModel, settings: Settings, owner: str | None) -> ModelFacts:
    """A model on the Hub, checked by its list of files and its small files at the pinned commit."""
    recorded = fetched.recorded(settings, model.repo, model.commit, owner)
    if recorded:
        return recorded
    check_names(model.files, model.repo)
    folder = hub_models.small_files(model, small_names(model.files), hub_cache(settings))
    found = inspect(folder, model.files, model.repo)
    found = inspect(folder, model.files, model.repo, _headers(model, found.block))
    ref = ModelRef(model.repo, model.commit, "hub", None, model.repo)
    to_fetch = sum(model.files[name] for name in found.names)
    facts = facts_of(ref, found, model.licence, parameters=model.parameters, to_fetch=to_fetch)
    return replace(facts, downloads=model.downloads)


def _headers(model: hub_models.HubModel, parts: tuple[str, ...]) -> dict[str, Shape]:
    """The tensors in some of the weights by their headers; empty where the Hub does not give them now."""
    try:
        return hub_models.tensor_shapes(model, parts[:MOST_HEADERS])
    except StudioError:
        return {}  # the forecast can do without; the fetch will say what is wrong


def _fetch(facts: ModelFacts, revision: str, settings: Settings, tell: OnProgress) -> ModelRef:
    """Bring a Hub model here whole, check the files themselves, and only then record that it is here."""
    model = hub_models.ask(facts.ref.repo, facts.ref.revision, pauses=hub.PAUSES)
    cache = hub_cache(settings)
    found = inspect(hub_models.small_files(model, small_names(model.files), cache), model.files, model.repo)
    folder = hub_models.download(model, found.names, tell, cache=cache)
    ref = keep_whole(model, folder, revision, settings, found.names).ref
    tell(1.0, "The model is here")
    return ref


def keep_whole(
    model: hub_models.HubModel, folder: Path, asked: str, settings: Settings, names: list[str], owner: str = ""
) -> ModelFacts:
    """Check the files that came and record them, for `owner` alone where it was a token that opened them."""
    ref = ModelRef(model.repo, model.commit, "hub", folder, model.repo)
    facts = replace(
        facts_of(ref, inspect(folder, files_of(folder), model.repo), model.licence),
        downloads=model.downloads, gated=model.gated, private=model.private, owner=owner,
    )  # fmt: skip
    fetched.keep(settings, model, asked, facts, names)
    return facts
