"""Whether anything of a dataset would be learnt at all, from what the sandbox counted of it. Pure."""

from collections.abc import Mapping
from typing import Any

from studio.core.config import RunConfig
from studio.core.errors import Fault


def supervision_faults(config: RunConfig, name: str, counts: Mapping[str, Any]) -> list[Fault]:
    """Why a run on the dataset `name` would learn nothing; empty where it would, or only a part was counted.

    `counts` as `studio.importing.counting` gives them for this very config.
    """
    whole = counts["counted"] + counts["refused"] >= counts["examples"]
    if counts["train_learnt"] or not whole:
        return []
    longest, examples = config.training.max_length, f"{counts['examples']:,}"
    if not (counts["train"] or counts["cut"] or counts.get("nothing_learnt")):
        words = f"{name} leaves nothing to learn from: all of its {examples} examples are held out to check."
        return [Fault("dataset", words, "Give its eval part fewer of them.")]
    if counts["cut"] and config.training.overlong == "drop":
        words = f"Longest example can not be {longest:,} tokens: all that teach are longer, and left out."
        return [Fault("training.max_length", words, _longer(counts) + ", or cut them instead of leaving them out.")]
    if counts["cut"]:
        words = f"Longest example can not be {longest:,} tokens: cut there, no example has an answer left."
        return [Fault("training.max_length", words, _longer(counts) + ".")]
    words = f"{name} teaches nothing: 0 of its {examples} examples have an answer to learn (empty, or of weight 0)."
    return [Fault("dataset", words, "Look inside, map its columns again, or choose another one.")]


def _longer(counts: Mapping[str, Any]) -> str:
    most = min(counts["longest"], counts.get("context") or counts["longest"])
    return f"Raise it: the longest example has {most:,}"
