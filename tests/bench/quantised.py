"""`python -m tests.bench.quantised --json`: peak memory of training a random 1.5B-shaped model, NF4 against bf16.

Each in a fresh child: VmHWM less its value before the model is loaded, over a few steps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from worker.supervise import TRAINER

SHAPE = {
    "vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
STEPS = 2


def make(folder: Path) -> None:
    """The model on disk, in bf16, with the tests' tokenizer; written in a child so that nothing of it stays here."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from tests.integration.tiny import make_tokenizer

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    Qwen2ForCausalLM(Qwen2Config(**SHAPE)).save_pretrained(folder, max_shard_size="4GB")
    make_tokenizer().save_pretrained(folder)


def status(name: str) -> int:
    """One line of /proc/self/status, in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def one(folder: Path, quantization: str) -> dict[str, float]:
    """Load and train a few steps; the peak above what stood before."""
    import worker.trainer.phases as phases
    from tests.integration.trainer_jobs import Recorder, chats, job, write_data

    real, before = phases.load, []

    def load(*given: object) -> object:
        before.append(status("VmHWM"))
        return real(*given)  # type: ignore[arg-type]

    phases.load = load  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        data = write_data(out / "data.parquet", chats(8))
        base = {"quantization": quantization, "dtype": "bfloat16"}
        training = {"max_steps": STEPS, "per_device_train_batch_size": 2, "eval_share": 0, "warmup_steps": 0}
        recorder = Recorder()
        phases.train(job(folder, data, out / "run", base=base, training=training), recorder)
    losses = list(recorder.series("loss").values())
    return {"peak_gb": (status("VmHWM") - before[0]) / 1e9, "first_loss": losses[0], "last_loss": losses[-1]}


def main() -> None:
    """The two in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", type=Path)
    parser.add_argument("--one", nargs=2)
    asked = parser.parse_args()
    if asked.make:
        return make(asked.make)
    if asked.one:
        return print(json.dumps(one(Path(asked.one[0]), asked.one[1])))
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as name:
        call = [sys.executable, "-m", "tests.bench.quantised"]
        subprocess.run([*call, "--make", name], check=True)
        found = {}
        as_trainer = {**TRAINER, **os.environ}  # as the supervisor starts one
        for kind in ("nf4", "none"):
            order = [*call, "--one", name, kind]
            said = subprocess.run(order, check=True, capture_output=True, text=True, env=as_trainer).stdout
            found["bf16" if kind == "none" else kind] = json.loads(said.strip().splitlines()[-1])
    found["saved_gb"] = found["bf16"]["peak_gb"] - found["nf4"]["peak_gb"]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
