"""`python -m worker`: the consumer; with a word behind it, one of the processes that the worker is made of."""

import json
import logging
import signal
import sys

from studio.core.errors import BootRefused
from studio.core.lineage import die_with_parent
from studio.core.settings import Settings


def main(arguments: list[str]) -> int:
    """Run `serve` (no word), `trainer RUN`, `spare`, `engine FOLDER SOCKET`, `starter GGUF OUT` or `devices`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("huey").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    match arguments:
        case []:
            return _serve()
        case ["trainer", run_id]:
            from worker.trainer import main as train

            return train(run_id)
        case ["spare"]:
            from worker.trainer import spare

            return spare()
        case ["engine", folder, socket_path]:
            from worker.engine import main as answer

            return answer(folder, socket_path)
        case ["starter", source, target]:
            from worker.starter import main as convert

            return convert(source, target)
        case ["forecast"]:
            from worker.dry_run import main as forecast

            return forecast()
        case ["devices"]:
            from worker.gpu import facts

            sys.stdout.write(json.dumps(facts()) + "\n")
            return 0
        case _:
            sys.stderr.write(
                "usage: python -m worker "
                "[trainer RUN | spare | engine FOLDER SOCKET | starter IN OUT | devices | forecast]\n"
            )
            return 2


def _serve() -> int:
    from worker.consumer import serve

    die_with_parent(signal.SIGTERM)
    try:
        return serve(Settings())
    except BootRefused as refused:
        sys.stderr.write(f"{refused.problem} {refused.remedy}\n")
        return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
