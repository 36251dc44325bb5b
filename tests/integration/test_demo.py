"""`tunesmith demo --json`: the main job headless on the starter model, as README promises it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_teaches_the_starter_model_what_it_could_not_do(starter_dir: Path) -> None:
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(starter_dir), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "studio", "demo", "--json"]
    done = subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["state"]) == (0, "succeeded"), report
    assert report["base"]["exact_match"] <= 0.2
    assert report["tuned"]["exact_match"] >= 0.8
    assert report["tuned"]["loss"] < report["base"]["loss"]
    adapter = Path(report["adapter_dir"])
    assert adapter.is_absolute() and (adapter / "adapter_model.safetensors").is_file()
    assert report["peak_rss_mb"] > 100 and report["dtype"] in ("float32", "bfloat16")
    assert report["run_id"] and report["seconds"] > 0 and report["source"] == "starter-wheel"
