"""What of a config a machine can not do: told at the form, at submit and once more by the trainer itself. Pure."""

from collections.abc import Iterator
from typing import Any

from studio.core.errors import Fault


def machine_faults(config: Any, facts: dict[str, Any]) -> list[Fault]:
    """What of a whole `RunConfig` can not run on a machine; `facts` as its worker reports them, empty: not known yet.

    Read of them: `devices` (the best first, each with its `kind`) and `flash_attention` (whether it is installed).
    """
    devices = facts.get("devices") or []
    return list(_on(config, facts, str(devices[0].get("kind", "")))) if devices else []


def _on(config: Any, facts: dict[str, Any], kind: str) -> Iterator[Fault]:
    accelerator = kind != "cpu"
    if config.base.attn_implementation == "flash_attention_2" and not (accelerator and facts.get("flash_attention")):
        words = "Flash attention is not installed here." if accelerator else "Flash attention needs an accelerator."
        yield Fault("base.attn_implementation", words, "Choose auto or sdpa.")
    if config.base.quantization == "int8" and config.adapter.use_dora and not accelerator:
        words = "DoRA reads the base model's own weights, which a processor can not unpack from 8 bits."
        yield Fault("adapter.use_dora", words, "Take DoRA back, or choose nf4.")
    if config.training.activation_checkpointing == "offload" and not accelerator:
        words = "Activations can not be kept in main memory instead: on a processor they stand there already."
        yield Fault("training.activation_checkpointing", words, "Choose full or every_n.")
