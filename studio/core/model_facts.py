"""What names a base model for good, and what is known of one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.core.model_build import Build
from studio.core.model_folder import Inspected

Source = Literal["starter-hub", "starter-wheel", "local", "hub"]


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
    """What is known of a model. `parameters`, `context` (tokens), `downloads`: 0 if unknown.

    `bytes_to_fetch`: 0 if it is here. How it is built (`layers`, `shapes`, ...) stands in `Build`. `owner` is whose
    token fetched it, the only one who may use it; empty for everybody. Without `has_template` the studio
    gives it one.
    """

    ref: ModelRef
    architecture: str
    parameters: int
    context: int
    licence: str
    bytes_to_fetch: int
    width: int = 0
    linear_layers: tuple[str, ...] = ()
    downloads: int = 0
    gated: bool = False
    private: bool = False
    owner: str = ""
    has_template: bool = True

    @property
    def is_here(self) -> bool:
        """Whether it can be used without the network."""
        return self.ref.folder is not None


def facts_of(ref: ModelRef, found: Inspected, licence: str, *, parameters: int = 0, to_fetch: int = 0) -> ModelFacts:
    """What the model's files tell. `parameters`: as the Hub counted them, if it did."""
    known = found.architecture, parameters or found.parameters, found.context, licence
    return ModelFacts(
        ref, *known, to_fetch, found.width, found.linear_layers, has_template=found.has_template, **vars(found.build)
    )
