"""`tunesmith train CONFIG`: a run without a page, by a row and a worker of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.integration.tiny import make_tiny_model

ROOT = Path(__file__).parents[2]


def train(data_dir: Path, *arguments: str) -> tuple[int, dict[str, object], str]:
    """The exit code, the one JSON object on standard output, and standard error."""
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(data_dir), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "studio", "train", *arguments, "--json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_a_config_and_a_file_become_a_finished_run(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    rows = tmp_path / "rows.jsonl"
    lines = [json.dumps({"prompt": f"Say {i}", "completion": f"It is {i}"}) for i in range(12)]
    rows.write_text("\n".join(lines) + "\n")
    config = tmp_path / "run.yaml"
    config.write_text(
        f"name: by hand\nbase:\n  repo: {model}\nadapter:\n  r: 4\ntraining:\n  max_steps: 2\n  learning_rate: 1e-3\n"
        "  max_length: 64\n  per_device_train_batch_size: 2\n"
    )
    code, report, said = train(tmp_path / "data", str(config), "--data", str(rows))
    assert (code, report["state"], report["name"]) == (0, "succeeded", "by hand"), (report, said)
    assert report["step"] == report["steps"] == 2
    assert str(tmp_path) not in json.dumps(report)


def test_every_fault_of_a_config_is_named_at_its_line_and_nothing_is_queued(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("training:\n  learning_rate: 1e9\nadapter:\n  r: 4096\n  rank: 8\n")
    code, report, said = train(tmp_path / "data", str(config), "--data", "no such thing")
    faults = report["faults"]
    assert code == 2 and isinstance(faults, list)
    words = " ".join(fault["problem"] for fault in faults)
    for part in ("Line 2: Learning rate can not be", "Line 4: Adapter rank can not be 4096",
                 "Line 5: There is no setting", "no file or dataset called 'no such thing'"):  # fmt: skip
        assert part in words and part in said
    assert not list((tmp_path / "data" / "runs").glob("*"))
