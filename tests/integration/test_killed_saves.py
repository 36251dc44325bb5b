"""Fifty times `kill -9` within a save of the real trainer: what is on disk is whole, and the run ends well."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from studio.core import checkpoints
from tests.integration.tiny import make_tiny_model
from tests.integration.trainer_jobs import Recorder, chats, write_data
from tests.integration.twice import EPOCHS, made
from worker.trainer.phases import train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
KILLS = 50
LONGEST_WAIT = 0.03  # a save of the tiny model takes about as long
MOST_SAVES = 2


class Nursery:
    """A process with everything imported that forks a trainer when asked: an attempt begins in half a second."""

    def __init__(self, model: Path, data: Path, out: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "tests.integration.twice", str(model), str(data), str(out)]
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def trainer(self) -> int:
        """The pid of a fresh attempt."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return int(self._line())

    def end(self) -> str:
        """How the attempt ended: its exit code, negative for a signal."""
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def open_saves(root: Path) -> set[str]:
    """Folders that have begun and carry no seal."""
    if not root.is_dir():
        return set()
    return {one.name for one in root.glob("checkpoint-*") if not (one / checkpoints.SEAL).exists()}


def kill_in_a_save(pid: int, root: Path, dice: random.Random) -> None:
    """SIGKILL at a random moment after a save began."""
    left, known, deadline = dice.randint(1, MOST_SAVES), open_saves(root), time.monotonic() + 60
    while left:
        assert time.monotonic() < deadline, "no save began"
        begun = open_saves(root)
        left -= bool(begun - known)
        known = begun
    moment = time.monotonic() + dice.uniform(0, LONGEST_WAIT)
    while time.monotonic() < moment:
        pass
    os.kill(pid, signal.SIGKILL)


def test_fifty_kills_within_saves_leave_a_whole_checkpoint_and_cost_nothing(tmp_path: Path) -> None:
    model, data = make_tiny_model(tmp_path / "model"), write_data(tmp_path / "data.parquet", chats(22))
    out, dice, halved, reached = tmp_path / "run", random.Random(4), 0, 0
    out.mkdir()
    root, nursery = out / "checkpoints", Nursery(model, data, out)
    for _ in range(KILLS):
        pid = nursery.trainer()
        kill_in_a_save(pid, root, dice)
        assert nursery.end() == str(-signal.SIGKILL)
        halved += bool(open_saves(root))
        sealed = checkpoints.sealed(root)
        assert all(checkpoints.is_whole(one) for one in sealed), "a sealed checkpoint is not whole"
        found = checkpoints.newest(root, "")
        assert not sealed or found is not None
        step = found.step if found else 0
        assert step >= reached, "an older checkpoint is the newest now"
        reached = step
    nursery.trainer()
    assert nursery.end() == "0"
    nursery.close()
    assert halved > KILLS // 4 and reached > KILLS // 4
    straight = replace(made(model, data, tmp_path / "straight"), checkpoint_seconds=3600.0)
    assert train(straight, Recorder())["steps"] == 6 * EPOCHS
    wanted, got = (load_file(place / "adapter/adapter_model.safetensors") for place in (straight.run_dir, out))
    assert all(torch.equal(wanted[name], got[name]) for name in wanted)
