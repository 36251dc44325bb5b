"""The demo run: the starter model learns our own dataset of orders."""

from typing import Any

from studio.core.assets import asset
from studio.core.catalog import DEMO_FILE, DEMO_NAME, STARTER_PARAMETERS, STARTER_REPO
from studio.core.config import parse_config
from studio.core.estimate import seconds, tokens_per_second
from studio.core.services import Services
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.runs import Run
from studio.core.use_cases.submit import Order, submit
from studio.core.use_cases.upload import import_file

MAPPING = {"prompt": "spoken", "completion": "order_json", "system": "system"}
CONFIG: dict[str, Any] = {
    "base": {"repo": STARTER_REPO},
    "training": {
        "num_train_epochs": 2,
        "learning_rate": 5e-4,
        "per_device_train_batch_size": 4,
        "max_length": 256,
        "predict_with_generate": True,
    },
}
# Tokens that the demo reads (training) and writes (answers), for its forecast; a test counts them again.
TOKENS = 62_000
ANSWER_SECONDS = 40.0


def demo_dataset(services: Services, owner: str) -> DatasetVersion:
    """The starter dataset as one of the person's own; imported at the first call."""
    return import_file(services, owner, asset("examples") / DEMO_FILE, DEMO_FILE, MAPPING)


def start_demo(services: Services, owner: str, idempotency_key: str | None = None) -> Run:
    """A new demo run at the end of the line."""
    version = demo_dataset(services, owner)
    return submit(services, owner, Order(DEMO_NAME, version.id, CONFIG, idempotency_key))


def demo_seconds(services: Services) -> float | None:
    """How long the demo takes here, from this machine's matrix speed; None before a worker has measured it."""
    machine = services.machines.newest()
    speed = tokens_per_second(STARTER_PARAMETERS, machine.facts.get("matmul", {})) if machine else None
    whole = seconds(TOKENS, speed)
    return whole + ANSWER_SECONDS if whole else None


def is_demo(run: Run) -> bool:
    """Whether a run is the demo: its name, model and config are."""
    return run.name == DEMO_NAME and run.config == parse_config(CONFIG).model_dump()
