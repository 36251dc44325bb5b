"""What a version of a dataset is made of. Pure values: the same recipe over the same files gives the same examples."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Part:
    """One file of a version's own folder (`kind` "file"), or another version by its id (`kind` "version").

    `split` puts all of it on one side; `weight` is how often each example is taken (0.5: about half of them), `cap` the
    most that are taken.
    """

    file: str
    name: str
    split: str | None = None
    kind: str = "file"
    weight: float = 1.0
    cap: int | None = None


@dataclass(frozen=True)
class Recipe:
    """All that makes a version: the same recipe over the same files gives the same examples."""

    parts: tuple[Part, ...]
    mapping: dict[str, str]
    steps: tuple[dict[str, Any], ...] = ()
    reading: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    origin: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Recipe":
        """A recipe as `asdict` and JSON left it."""
        return cls(**{**kept, "parts": tuple(Part(**part) for part in kept["parts"]), "steps": tuple(kept["steps"])})

    @property
    def key(self) -> str:
        """A short name for it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
