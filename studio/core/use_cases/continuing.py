"""Whether a run may go on from the adapter of an earlier one: the person's own, of the same base, of the same shape."""

from studio.core.config import AdapterConfig, RunConfig, parse_config
from studio.core.errors import Fault, Faults, NotFound
from studio.core.models import ModelFacts
from studio.core.services import Services
from studio.core.stores.runs import Run

FIELD = "adapter.continue_from"
_SHAPE = {
    "r": "adapter rank", "lora_alpha": "adapter scale", "target_modules": "layers", "use_rslora": "rsLoRA choice",
    "use_dora": "DoRA choice", "layers_to_transform": "blocks", "modules_to_save": "layers trained whole",
    "bias": "biases",
}  # fmt: skip


def continue_faults(services: Services, owner: str, config: RunConfig, facts: ModelFacts) -> list[Fault]:
    """What stands against `config.adapter.continue_from`; empty where nothing does, or it is not set."""
    run_id = config.adapter.continue_from
    if not run_id:
        return []
    another = "Choose another run, or start a fresh adapter."
    try:
        run = services.runs.get(run_id, owner)
    except NotFound:
        return [Fault(FIELD, "The run to continue from is not there.", another)]
    if not (services.artifacts.adapter_dir(run.id) / "adapter_model.safetensors").is_file():
        return [Fault(FIELD, f"{run.name} has no adapter to continue from.", another)]
    if (run.base_repo, run.base_revision) != (facts.ref.repo, facts.ref.revision):
        words = f"The adapter of {run.name} stands on another base model: {run.base_repo}."
        return [Fault(FIELD, words, "Choose that base model, or another run.")]
    return _shape_faults(run, config)


def _shape_faults(run: Run, config: RunConfig) -> list[Fault]:
    try:
        wanted = shape_of(parse_config(run.config).adapter)
    except Faults:
        return [Fault(FIELD, f"{run.name} was made with settings that are no longer known.", "Choose another run.")]
    found = []
    for name, words in _SHAPE.items():
        own, its = getattr(config.adapter, name), getattr(wanted, name)
        if own != its:
            problem = f"The adapter of {run.name} has another {words}: {its!r}, not {own!r}."
            found.append(Fault(f"adapter.{name}", problem, f"Choose {its!r}, or start a fresh adapter."))
    return found


def shape_of(adapter: AdapterConfig) -> AdapterConfig:
    """How a published adapter is shaped: PiSSA's stands on the untouched base with twice the rank."""
    if adapter.init_lora_weights != "pissa":
        return adapter
    scale = adapter.lora_alpha / (adapter.r**0.5 if adapter.use_rslora else adapter.r)
    return adapter.model_copy(update={"r": 2 * adapter.r, "lora_alpha": scale * 2 * adapter.r, "use_rslora": False})
