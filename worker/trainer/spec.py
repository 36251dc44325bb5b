"""What an attempt runs with, so that it can be done again: it stands in the run's row."""

from importlib.metadata import version
from typing import Any

from worker.trainer.job import Job
from worker.trainer.load import Loaded
from worker.trainer.prepare import Prepared

LIBRARIES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "bitsandbytes",
)  # fmt: skip


def spec_of(job: Job, loaded: Loaded, data: Prepared) -> dict[str, Any]:
    """What the attempt runs with, so that it can be done again."""
    return {
        "libraries": {name: version(name) for name in LIBRARIES},
        "dataset_sha256": job.dataset_sha256,
        "model": {"repo": job.model_repo, "revision": job.model_revision, "source": job.model_source},
        "dtype": loaded.dtype,
        "device": loaded.device.title,
        "threads": loaded.threads,
        "matmul_gflops": loaded.speeds,
        "seed": job.config.training.seed,
        "continues": job.config.adapter.continue_from or None,
        "examples": len(data.train),
        "held_out": len(data.held_out),
        "tokens": data.train.tokens,
        "learnt_tokens": data.train.learnt,
        **job.extra_spec,
    }
