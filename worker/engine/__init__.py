"""The playground's process: one base model, many adapters, streamed answers in OpenAI's shape over a Unix socket."""

import os

from studio.core.lineage import die_with_parent


def main(base_folder: str, socket_path: str) -> int:
    """Serve the model of `base_folder` at `socket_path` until idle, ended or orphaned; gives the exit code."""
    die_with_parent()
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything is in local folders; nothing here may ask the Hub
    # Torch's threads spin while they wait for one another. Beside a run on the same cores that made 0.8 tokens/s of the
    # starter model; sleeping after a short spin made 5.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Imported only now: torch takes seconds, in which the parent may die.
    from worker.engine.life import serve

    serve(base_folder, socket_path)
