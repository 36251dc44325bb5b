"""Base models: what a name means, whether it can be trained here, and its folder on this machine. Torch-free.

Three kinds: the starter model, a folder on this machine (an absolute path), and an exact Hub id (`owner/name`). The Hub
is asked only here and only for a model that somebody chose, never while a page loads. A model from the Hub that was
fetched whole leaves a record in `models/hub/ready/`; with that, and a pinned commit, the Hub is never asked again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from studio.core import hub, hub_models, starter
from studio.core.artifacts import read_json, write_json
from studio.core.catalog import STARTER_NAME, STARTER_PARAMETERS, STARTER_REPO, STARTER_WHEEL
from studio.core.errors import Refused, StudioError, Unavailable
from studio.core.hub import OnProgress
from studio.core.model_build import Build, Shape
from studio.core.model_folder import LIMITS, TEXTS, Inspected, check_names, files_of, inspect
from studio.core.settings import Settings

Source = Literal["starter-hub", "starter-wheel", "local", "hub"]
STARTER_CONTEXT = 8192
STARTER_BUILD: dict[str, Any] = {
    "model_type": "llama", "layers": 30, "hidden_size": 576, "intermediate_size": 1536, "heads": 9, "kv_heads": 3,
    "head_dim": 64, "vocab_size": 49152, "tied": True, "weight_bytes": 269_060_552,
    "shapes": {"down_proj": (576, 1536), "gate_proj": (1536, 576), "k_proj": (192, 576), "o_proj": (576, 576),
               "q_proj": (576, 576), "up_proj": (1536, 576), "v_proj": (192, 576)},
}  # fmt: skip
MOST_HEADERS = 4
LOCAL_REVISION = "local"


@dataclass(frozen=True)
class ModelRef:
    """One base model. `repo` and `revision` (a commit on the Hub) name it for good; `folder`: None until it is here."""

    repo: str
    revision: str
    source: Source
    folder: Path | None
    name: str


@dataclass(frozen=True)
class ModelFacts(Build):
    """What is known of a model. `parameters` and `context` (tokens): 0 if unknown; `bytes_to_fetch`: 0 if here.

    How it is built (`layers`, `shapes`, ...) stands in `Build`.
    """

    ref: ModelRef
    architecture: str
    parameters: int
    context: int
    licence: str
    bytes_to_fetch: int
    width: int = 0
    linear_layers: tuple[str, ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether it can be used without the network."""
        return self.ref.folder is not None


def look_up(repo: str, revision: str, settings: Settings) -> ModelFacts:
    """What `repo` at `revision` is. Fetches at most the small files of a Hub model.

    Refused, with a sentence and the field, for what is unknown or can not be trained here; Unavailable where the Hub
    is needed and does not answer.
    """
    repo, revision = repo.strip(), revision.strip() or "main"
    if is_starter(repo, revision, settings):
        return _starter_facts(settings)
    if is_path(repo):
        return _local_facts(repo)
    if not hub.is_hub_id(repo):
        raise hub.no_model(repo)
    recorded = _recorded(settings, repo, revision)
    if recorded and recorded.ref.revision == revision:
        return recorded
    try:
        return _hub_facts(hub.ask(repo, revision), settings)
    except Unavailable:
        if recorded:
            return recorded
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
    model = hub.ask(facts.ref.repo, facts.ref.revision)
    return hub.small_files(model, [name for name in TEXTS if name in model.files], _hub_cache(settings))


def here(settings: Settings) -> list[ModelRef]:
    """The models that can be chosen without a network: the starter model first (also before it is fetched)."""
    records = (_facts_of(read_json(path), settings) for path in _ready_dir(settings).glob("*.json"))
    fetched = [facts.ref for facts in records if facts]
    return [_starter_facts(settings, checked=False).ref, *sorted(fetched, key=lambda ref: ref.name.lower())]


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
    return _facts(ref, inspect(folder, files_of(folder), STARTER_NAME), "apache-2.0")


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
    return _facts(ref, inspect(folder, files, folder.name), "")


def _hub_facts(model: hub.HubModel, settings: Settings) -> ModelFacts:
    """A model on the Hub, checked by its list of files and its small files at the pinned commit."""
    recorded = _recorded(settings, model.repo, model.commit)
    if recorded:
        return recorded
    check_names(model.files, model.repo)
    folder = hub.small_files(model, _small(model), _hub_cache(settings))
    found = inspect(folder, model.files, model.repo)
    found = inspect(folder, model.files, model.repo, _headers(model, found.block))
    ref = ModelRef(model.repo, model.commit, "hub", None, model.repo)
    to_fetch = sum(model.files[name] for name in found.names)
    return _facts(ref, found, model.licence, parameters=model.parameters, to_fetch=to_fetch)


def _headers(model: hub.HubModel, parts: tuple[str, ...]) -> dict[str, Shape]:
    """The tensors in some of the weights by their headers; empty where the Hub does not give them now."""
    try:
        return hub_models.tensor_shapes(model, parts[:MOST_HEADERS])
    except StudioError:
        return {}  # the forecast can do without; the fetch will say what is wrong


def _fetch(facts: ModelFacts, revision: str, settings: Settings, tell: OnProgress) -> ModelRef:
    """Bring a Hub model here whole, check the files themselves, and only then record that it is here."""
    model = hub.ask(facts.ref.repo, facts.ref.revision, pauses=hub.PAUSES)
    cache = _hub_cache(settings)
    found = inspect(hub.small_files(model, _small(model), cache), model.files, model.repo)
    folder = hub.download(model, found.names, tell, cache=cache)
    whole = inspect(folder, files_of(folder), model.repo)
    ref = ModelRef(model.repo, model.commit, "hub", folder, model.repo)
    known = asdict(_facts(ref, whole, facts.licence))
    record = {
        "repo": model.repo,
        "commit": model.commit,
        "asked": revision,
        "folder": str(folder.relative_to(cache.resolve())),
        "files": {name: model.files[name] for name in found.names},
        "facts": {key: value for key, value in known.items() if key != "ref"},
    }
    write_json(_record_path(settings, model.repo, model.commit), record)
    tell(1.0, "The model is here")
    return ref


def _small(model: hub.HubModel) -> list[str]:
    """The files that the checks read; the tokenizer itself is large and comes later."""
    return [name for name in LIMITS if name in model.files and name != "tokenizer.json"]


def _facts(ref: ModelRef, found: Inspected, licence: str, *, parameters: int = 0, to_fetch: int = 0) -> ModelFacts:
    known = found.architecture, parameters or found.parameters, found.context, licence
    return ModelFacts(ref, *known, to_fetch, found.width, found.linear_layers, **vars(found.build))


def _recorded(settings: Settings, repo: str, revision: str) -> ModelFacts | None:
    """The model as fetched earlier: at this very commit, or the latest one fetched under this name of a branch."""
    exact = _facts_of(read_json(_record_path(settings, repo, revision)), settings)
    if exact:
        return exact
    paths = sorted(_ready_dir(settings).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    records = (read_json(path) for path in paths)
    named = (record for record in records if record["repo"] == repo and record["asked"] == revision)
    found = (_facts_of(record, settings) for record in named)
    return next((facts for facts in found if facts), None)


def _facts_of(record: dict[str, Any] | None, settings: Settings) -> ModelFacts | None:
    """A record as facts; None where its files are not all there any more."""
    if not record:
        return None
    folder = _hub_cache(settings).resolve() / record["folder"]
    sizes = record["files"].items()
    if not all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in sizes):
        return None
    ref = ModelRef(record["repo"], record["commit"], "hub", folder, record["repo"])
    if "layers" not in record["facts"]:  # recorded before it was known how a model is built
        return _facts(ref, inspect(folder, files_of(folder), ref.repo), record["facts"].get("licence", ""))
    return ModelFacts(ref, **_as_tuples(record["facts"]))


def _as_tuples(facts: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples."""
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    return {**known, "shapes": {name: tuple(shape) for name, shape in facts["shapes"].items()}}


def _record_path(settings: Settings, repo: str, commit: str) -> Path:
    key = hashlib.sha256(f"{repo}@{commit}".encode()).hexdigest()[:32]
    return _ready_dir(settings) / f"{key}.json"


def _hub_cache(settings: Settings) -> Path:
    return settings.models_dir / "hub"


def _ready_dir(settings: Settings) -> Path:
    return _hub_cache(settings) / "ready"
