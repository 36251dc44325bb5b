"""What a config field says of itself: its words, its bounds, its level; and the bounds in words."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Finite = Annotated[float, AfterValidator(_finite)]


def knob(  # noqa: PLR0913 - what a field says of itself, each by its name
    default: Any,
    label: str,
    help: str,
    *,
    level: str = "advanced",
    unit: str = "",
    part: str = "",
    names: Mapping[str, str] | None = None,
    **bounds: Any,
) -> Any:
    """A config field with its words: `label` as on the page, `help` with what it costs, `level` basic or advanced.

    `part` is where it stands within its group on the form (empty: the group itself); `names` are its choices in words.
    """
    extra: Any = {"level": level, "unit": unit, "part": part, "names": dict(names or {})}
    return Field(default, title=label, description=help, json_schema_extra=extra, **bounds)


class Group(BaseModel):
    """A part of the config that one library takes whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


_WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _plain(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def range_of(info: FieldInfo) -> str:
    """What a field takes, in words: "a whole number of at least 1 and at most 512"."""
    options = getattr(info.annotation, "__args__", ())
    if options and all(isinstance(option, str) for option in options):
        return "one of " + ", ".join(options)
    kind = {"int": "a whole number", "float": "a number", "bool": "yes or no"}.get(
        getattr(info.annotation, "__name__", ""), "a text"
    )
    parts = [f"{_WORDS[w]} {_plain(getattr(m, w))}" for m in info.metadata for w in _WORDS if hasattr(m, w)]
    lengths = [f"{w} {getattr(m, n)} characters" for m in info.metadata
               for n, w in (("min_length", "at least"), ("max_length", "at most")) if hasattr(m, n)]  # fmt: skip
    return f"{kind} of " + " and ".join(parts + lengths) if parts or lengths else kind
