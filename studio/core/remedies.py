"""What to change after a failure, or against an alarm, so that the next run may succeed: one click. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.config import RunConfig, parse_config
from studio.core.errors import Faults
from studio.core.microbatches import splits

MEMORY = {"out_of_memory", "host_out_of_memory", "device_out_of_memory"}
CALMER, BOLDER = 0.25, 10.0
SHORTEST = 128
USUAL_TOKENS = 1024  # of a micro-batch, where the config leaves it to the studio (studio.core.microbatches)
LONGER, MORE_EPOCHS, PATIENCE = 4, 3, 3


@dataclass(frozen=True)
class Change:
    """A part of a config, nested by group, with its words: "half the examples at once"."""

    words: str
    config: dict[str, dict[str, Any]]


Cure = Callable[[RunConfig], Change | None]


def change_for(reason: str | None, config: dict[str, Any]) -> Change | None:
    """The nearest change that helps against `reason` (a failure's, or an alarm's kind); None where none would."""
    try:
        parsed = parse_config(config)
    except Faults:
        return None
    tried = (cure(parsed) for cure in CURES.get(reason or "", ()))
    return next((found for found in tried if found and _is_config(changed(config, found.config))), None)


def changed(config: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`config` with `change` merged in, group by group."""
    return {**config, **{group: {**config.get(group, {}), **values} for group, values in change.items()}}


def _is_config(config: dict[str, Any]) -> bool:
    try:
        parse_config(config)
    except Faults:
        return False
    return True


def _training(words: str, **values: Any) -> Change:
    return Change(words, {"training": values})


def _fewer_examples(config: RunConfig) -> Change | None:
    """Where the person's batches are read as they are."""
    training = config.training
    if training.per_device_train_batch_size < 2 or splits(config):
        return None
    half = training.per_device_train_batch_size // 2
    rest = -(-training.per_device_train_batch_size // half) * training.gradient_accumulation_steps
    words = "half the examples at once"
    return _training(words, per_device_train_batch_size=half, gradient_accumulation_steps=min(rest, 1024))


def _fewer_tokens(config: RunConfig) -> Change | None:
    """Where the studio splits each step itself."""
    half = (config.training.micro_batch_tokens or USUAL_TOKENS) // 2
    if half < SHORTEST or not splits(config):
        return None
    return _training(f"{half:,} tokens at once", micro_batch_tokens=half)


def _compute_again(config: RunConfig) -> Change | None:
    if config.training.activation_checkpointing in ("full", "offload"):
        return None
    return _training("less memory, about a third slower", activation_checkpointing="full")


def _shorter(config: RunConfig) -> Change | None:
    half = config.training.max_length // 2
    return _training(f"examples cut to {half:,} tokens", max_length=half) if half >= SHORTEST else None


def _fewer_bits(config: RunConfig) -> Change | None:
    if config.base.quantization == "nf4" or config.adapter.tuner == "full":
        return None
    return Change("the base model in 4 bits", {"base": {"quantization": "nf4"}})


def _rate(factor: float) -> Cure:
    def cure(config: RunConfig) -> Change | None:
        rate = float(f"{config.training.learning_rate * factor:.2g}")
        return _training(f"a learning rate of {rate:g}", learning_rate=rate)

    return cure


def _longer(config: RunConfig) -> Change | None:
    length = config.training.max_length * LONGER
    return _training(f"examples of up to {length:,} tokens", max_length=length)


def _leave_out(config: RunConfig) -> Change | None:
    return _training("too long examples left out", overlong="drop") if config.training.overlong == "cut" else None


def _cut(config: RunConfig) -> Change | None:
    return _training("too long examples cut", overlong="cut") if config.training.overlong == "drop" else None


def _all_layers(config: RunConfig) -> Change | None:
    if config.adapter.target_modules.strip() == "all-linear":
        return None
    return Change("all linear layers", {"adapter": {"target_modules": "all-linear"}})


def _template(name: str) -> Cure:
    def cure(config: RunConfig) -> Change | None:
        if config.base.chat_template == name:
            return None
        words = {"plain": "the plain chat template", "auto": "the model's own chat template"}[name]
        return Change(words, {"base": {"chat_template": name}})

    return cure


def _more_epochs(config: RunConfig) -> Change | None:
    epochs = config.training.num_train_epochs * MORE_EPOCHS
    words = f"{epochs:g} epochs"
    return _training(words, num_train_epochs=epochs, max_steps=-1)


def _half_as_long(config: RunConfig) -> Change | None:
    epochs = config.training.num_train_epochs / 2
    return _training(f"{epochs:g} epochs", num_train_epochs=epochs)


def _keep_best(config: RunConfig) -> Change | None:
    if config.training.load_best_model_at_end:
        return None
    patience = config.training.early_stopping_patience or PATIENCE
    return _training("the best kept", load_best_model_at_end=True, early_stopping_patience=patience)


# What is tried first stands first: each costs more than the one before it. A trainer that ran out of memory has
# tried the smallest split already; a process that the system ended had no chance to.
CURES: Mapping[str, tuple[Cure, ...]] = {
    "out_of_memory": (_fewer_examples, _compute_again, _shorter, _fewer_bits),
    "device_out_of_memory": (_fewer_examples, _compute_again, _shorter, _fewer_bits),
    "host_out_of_memory": (_fewer_examples, _fewer_tokens, _compute_again, _shorter, _fewer_bits),
    "diverged": (_rate(CALMER),),
    "nothing_learnt": (_rate(BOLDER),),
    "all_cut": (_longer,),
    "all_too_long": (_cut,),
    "unknown_layers": (_all_layers,),
    "no_template": (_template("plain"),),
    "template_mismatch": (_template("auto"),),
    "time_limit": (_half_as_long,),
    # alarms
    "diverging": (_rate(CALMER),),
    "flat": (_rate(BOLDER),),
    "overfitting": (_keep_best,),
    "few_steps": (_more_epochs,),
    "no_end": (_leave_out,),
}
