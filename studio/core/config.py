"""What a person sets for a run. Pure: no disk, no database, no environment.

Every field carries the keyword of the library that takes it. Label, help, unit, bounds, group and level stand on the
field; the form, the API, the command line and the README read them here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from studio.core.catalog import STARTER_REPO
from studio.core.errors import Fault, Faults


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Finite = Annotated[float, AfterValidator(_finite)]


def knob(default: Any, label: str, help: str, *, level: str = "advanced", unit: str = "", **bounds: Any) -> Any:
    """A config field with its words: `label` as on the page, `help` with what it costs, `level` basic or advanced."""
    return Field(default, title=label, description=help, json_schema_extra={"level": level, "unit": unit}, **bounds)


class Group(BaseModel):
    """A part of the config that one library takes whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class BaseModelConfig(Group):
    """The frozen model that the run starts from."""

    repo: str = knob(
        STARTER_REPO,
        "Base model",
        "The starter model, a folder on this machine, or an exact Hub id.",
        level="basic",
        min_length=1,
        max_length=500,
    )
    revision: str = knob(
        "main",
        "Revision",
        "Branch, tag or commit on the Hub; its commit is kept with the run.",
        min_length=1,
        max_length=200,
    )
    dtype: Literal["auto", "float32", "bfloat16"] = knob(
        "auto",
        "Number format",
        "auto measures this machine and takes the fastest. bfloat16 halves the memory.",
    )


class AdapterConfig(Group):
    """LoRA, as `peft.LoraConfig` takes it."""

    r: int = knob(16, "Adapter rank", "Higher can learn more and costs memory (r).", level="basic", ge=1, le=512)
    lora_alpha: Finite = knob(32, "Adapter scale", "Usually twice the rank (lora_alpha).", gt=0, le=4096)
    lora_dropout: Finite = knob(0.0, "Dropout", "Share of the adapter switched off at random; calms.", ge=0, le=0.9)
    target_modules: str = knob(
        "all-linear",
        "Where it learns",
        "all-linear, or names of layers with commas (q_proj, v_proj). Fewer layers need less memory.",
        min_length=1,
        max_length=500,
    )


class TrainingConfig(Group):
    """The training loop, as `trl.SFTConfig` takes it."""

    num_train_epochs: Finite = knob(
        3, "Epochs", "How often each example is read. More learns closer, and by heart in the end.", level="basic",
        gt=0, le=1000,
    )  # fmt: skip
    learning_rate: Finite = knob(
        2e-4, "Learning rate", "Lower learns more calmly. LoRA likes 0.0001 to 0.0005.", level="basic", gt=0, le=0.1
    )
    per_device_train_batch_size: int = knob(
        8, "Examples at once", "More is faster and costs memory.", unit="examples", ge=1, le=1024
    )
    gradient_accumulation_steps: int = knob(
        1, "Batches per step", "Gradients of so many batches make one step: a larger batch without its memory.",
        ge=1, le=1024,
    )  # fmt: skip
    max_length: int = knob(
        1024, "Longest example", "Longer ones are cut or left out (overlong). Memory grows with it.",
        level="basic", unit="tokens", ge=8, le=131072,
    )  # fmt: skip
    overlong: Literal["cut", "drop"] = knob(
        "cut", "Too long examples", "cut loses their end, and with it when to stop; drop leaves them out whole."
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = knob(
        "linear", "Schedule", "How the learning rate falls over the run."
    )
    warmup_steps: Finite = knob(
        0.05, "Warm-up", "Steps until the full learning rate; below 1 it is a share of all steps.", ge=0, le=100_000
    )
    weight_decay: Finite = knob(0.0, "Weight decay", "Pulls the adapter's weights towards zero.", ge=0, le=1)
    max_grad_norm: Finite = knob(1.0, "Clipping", "Longest gradient of a step; lower is calmer.", gt=0, le=1000)
    seed: int = knob(42, "Seed", "The same seed repeats the same run.", ge=0, le=2**31 - 1)
    logging_steps: int = knob(1, "Log every", "Steps between two points of the charts.", unit="steps", ge=1, le=10_000)
    eval_share: Finite = knob(
        0.1, "Held out", "Share of the examples kept back to check, where the dataset names none itself.", ge=0, le=0.5
    )
    eval_steps: int = knob(
        0, "Check every", "Steps between two checks on held-out examples; 0 checks about ten times a run.",
        unit="steps", ge=0, le=1_000_000,
    )  # fmt: skip
    checkpoint_seconds: Finite = knob(
        0, "Checkpoint every", "A run that is cut off goes on from its newest one; 0 takes the studio's own pace.",
        unit="s", ge=0, le=86_400,
    )  # fmt: skip
    predict_with_generate: bool = knob(
        False, "Answer held-out examples", "Base and tuned model answer them at the end, and exact matches are counted."
    )


class RunConfig(Group):
    """Everything a person sets for a run. Frozen with the run when it is queued."""

    base: BaseModelConfig = Field(default_factory=BaseModelConfig, title="Base model")
    adapter: AdapterConfig = Field(default_factory=AdapterConfig, title="Adapter")
    training: TrainingConfig = Field(default_factory=TrainingConfig, title="Training")


@dataclass(frozen=True)
class Knob:
    """One field of the config as a form needs it. `path` is dotted, `training.learning_rate`."""

    path: str
    label: str
    help: str
    level: str
    unit: str
    default: Any
    info: FieldInfo


def knobs(level: str = "") -> Iterator[Knob]:
    """All fields of `RunConfig` in the order of the form; only those of `level` (basic, advanced) where given."""
    for group, outer in RunConfig.model_fields.items():
        kind = outer.annotation
        assert isinstance(kind, type) and issubclass(kind, Group)
        for name, info in kind.model_fields.items():
            extra = info.json_schema_extra
            assert isinstance(extra, dict)
            if level in ("", extra["level"]):
                label, words = info.title or name, info.description or ""
                yield Knob(f"{group}.{name}", label, words, str(extra["level"]), str(extra["unit"]), info.default, info)


def parse_config(raw: dict[str, Any]) -> RunConfig:
    """`raw` (nested by group, as from JSON) as a config. Raises `Faults`: every fault, with its range."""
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise Faults([_fault(entry) for entry in error.errors()]) from error


def _fault(entry: Any) -> Fault:
    """One Pydantic error in our words: the label, the value seen, the range."""
    path = ".".join(str(part) for part in entry["loc"])
    found = next((k for k in knobs() if k.path == path), None)
    if found is None:
        return Fault(path, f"There is no setting called {path!r}.", "Leave it out.")
    seen = repr(entry["input"])[:60]
    return Fault(path, f"{found.label} can not be {seen}.", f"Choose {_range(found.info)}.")


_WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _range(info: FieldInfo) -> str:
    """What a field takes, in words: "a whole number of at least 1 and at most 512"."""
    options = getattr(info.annotation, "__args__", ())
    if options and all(isinstance(option, str) for option in options):
        return "one of " + ", ".join(options)
    kind = {"int": "a whole number", "float": "a number", "bool": "yes or no"}.get(
        getattr(info.annotation, "__name__", ""), "a text"
    )
    parts = [f"{_WORDS[w]} {getattr(m, w):g}" for m in info.metadata for w in _WORDS if hasattr(m, w)]
    lengths = [f"{w} {getattr(m, n)} characters" for m in info.metadata
               for n, w in (("min_length", "at least"), ("max_length", "at most")) if hasattr(m, n)]  # fmt: skip
    return f"{kind} of " + " and ".join(parts + lengths) if parts or lengths else kind
