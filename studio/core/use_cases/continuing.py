"""What of a config does not go together with a person's earlier runs or with this machine: at edit and at submit."""

from studio.core.config import RunConfig
from studio.core.config.continuing import continuing_faults
from studio.core.config.machine_rules import machine_faults
from studio.core.errors import Fault, NotFound
from studio.core.services import Services


def here_faults(services: Services, owner: str, config: RunConfig) -> list[Fault]:
    """Everything about the adapter that is continued and about what this machine can do."""
    machine = services.machines.newest()
    return [*continued(services, owner, config), *machine_faults(config, machine.facts if machine else {})]


def continued(services: Services, owner: str, config: RunConfig) -> list[Fault]:
    """What does not go together with the run whose adapter is trained further: it must be the person's own."""
    if not config.adapter.continue_from:
        return []
    try:
        run = services.runs.get(config.adapter.continue_from, owner)
    except NotFound as error:
        return [Fault("adapter.continue_from", error.problem, "Choose another run, or a fresh adapter.")]
    if not (services.artifacts.adapter_dir(run.id) / "adapter_model.safetensors").is_file():
        words = f"{run.name[:80]} has no adapter that could be continued."
        return [Fault("adapter.continue_from", words, "Choose another run, or a fresh adapter.")]
    theirs = {**run.config, "base": {**run.config.get("base", {}), "repo": run.base_repo}}
    return continuing_faults(config, theirs, run.name)
