"""A dry run of the trainer's own code: what of memory a model's blocks ask for, counted where no weight is loaded.

`main` is the process that counts: it imports torch once and answers requests on its standard input, one JSON line each,
until it is idle for some minutes or its parent is gone.
"""

import json
import os
import select
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.child import Channel
from studio.core.config import parse_config
from studio.core.errors import StudioError
from studio.core.lineage import die_with_parent

IDLE_SECONDS = 300.0
NICE = 10


@dataclass(frozen=True)
class Plan:
    """How the run will go: its number format, whether a step has several micro-batches, the kind of its device.

    `long`: some micro-batches are wider than `BLOCKS_UP_TO`, from where on a processor attends otherwise.
    """

    dtype: str
    accumulates: bool = False
    kind: str = "cpu"
    long: bool = False


def main() -> int:
    """Answer until idle; gives the exit code."""
    die_with_parent()
    os.nice(NICE)
    os.environ["HF_HUB_OFFLINE"] = "1"
    channel = Channel()
    from worker.dry_run.counting import count  # heavy: seconds of torch

    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.readline()):
        channel.say(answer(json.loads(line), count))
    return 0


def answer(request: dict[str, Any], count: Any) -> dict[str, Any]:
    """`{"counted": ...}` or `{"problem": ...}`; a model that can not be drawn is no fault of the process."""
    try:
        config = parse_config(request["config"])
        plan = Plan(request["dtype"], bool(request["accumulates"]), request["kind"], bool(request["long"]))
        found = count(Path(request["folder"]), config, plan)
        return {"counted": found.as_json()}
    except StudioError as error:
        return {"problem": error.problem}
    except Exception as error:  # a door: whatever a stranger's model does, the next request is answered
        sys.stderr.write(f"dry run: {type(error).__name__}: {error}\n")
        return {"problem": "This model's memory could not be counted."}
