"""Kernel locks: who holds one is seen by others, and looking makes nothing."""

import os
from pathlib import Path

import pytest

from studio.core.locks import hold, is_held


def test_a_held_lock_is_seen_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "x" / "run.lock"
    assert not is_held(path)
    handle = hold(path)
    assert handle is not None and is_held(path) and hold(path) is None
    os.close(handle)
    assert not is_held(path)


def test_looking_at_the_lock_of_a_run_that_is_deleted_meanwhile_does_not_make_its_folder_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _path: True)  # it was there a moment ago
    assert not is_held(tmp_path / "deleted" / "run.lock")
    assert list(tmp_path.iterdir()) == []
