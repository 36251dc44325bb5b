"""An adapter that is trained further keeps its own shape: what must be as in the run that made it. Pure."""

from typing import Any

from studio.core.config import RunConfig, knobs
from studio.core.config.difference import flat, same, value_words
from studio.core.errors import Fault

KEPT = tuple(
    f"adapter.{name}"
    for name in ("r", "lora_alpha", "target_modules", "use_rslora", "use_dora", "layers_to_transform",
                 "modules_to_save", "bias")
)  # fmt: skip


def published(source: dict[str, Any]) -> dict[str, Any]:
    """`source` with its adapter as it was published: PiSSA's stands on the untouched base with twice the rank."""
    adapter = RunConfig.model_validate(source).adapter
    if adapter.init_lora_weights != "pissa":
        return source
    scale = adapter.lora_alpha / (adapter.r**0.5 if adapter.use_rslora else adapter.r)
    shape = {"r": 2 * adapter.r, "lora_alpha": scale * 2 * adapter.r, "use_rslora": False}
    return {**source, "adapter": {**source["adapter"], **shape}}


def continuing_faults(config: RunConfig, source: dict[str, Any], name: str) -> list[Fault]:
    """What of `config` does not go together with the config `source` of the run `name` whose adapter it continues."""
    own, theirs = flat(config.model_dump()), flat(published(source))
    faults = []
    for one in knobs():
        if one.path in KEPT and not same(own[one.path], theirs[one.path]):
            words = (
                f"{one.label} can not be {value_words(one, own[one.path])}: the adapter of {name[:80]} is continued."
            )
            faults.append(Fault(one.path, words, f"It has {value_words(one, theirs[one.path])}."))
    if theirs["adapter.tuner"] != "lora":
        words = f"{name[:80]} made no adapter that could be continued."
        faults.append(Fault("adapter.continue_from", words, "Choose another run, or a fresh adapter."))
    if own["base.repo"] != theirs["base.repo"]:
        words = f"The adapter of {name[:80]} belongs to another base model: {theirs['base.repo']}."
        faults.append(Fault("base.repo", words, "Choose its base model, or a fresh adapter."))
    return faults
