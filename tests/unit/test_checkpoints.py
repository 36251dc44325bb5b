"""A checkpoint counts from its seal on, and only as long as every byte is as it was sealed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core import checkpoints
from studio.core.checkpoints import SEAL, Checkpoint

SPEC = checkpoints.spec_hash({"training": {"seed": 1}}, "repo", "main", "0" * 64)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return tmp_path / "runs" / "r" / "checkpoints"


def write(root: Path, step: int, best: bool = False, spec: str = SPEC) -> Checkpoint:
    """A sealed checkpoint of two files, one of them in a folder."""
    folder = unsealed(root, step)
    return checkpoints.seal(folder, step, 3, spec, best)


def unsealed(root: Path, step: int) -> Path:
    """What a kill in the middle of a save leaves."""
    folder = checkpoints.folder_of(root, step)
    (folder / "deep").mkdir(parents=True)
    (folder / "optimizer.pt").write_bytes(bytes([step]) * 1000)
    (folder / "deep" / "state.json").write_text(f"{step}")
    return folder


def steps(root: Path) -> list[int]:
    """The steps that have a folder."""
    return sorted(int(folder.name.rpartition("-")[2]) for folder in root.iterdir())


def flip(path: Path) -> None:
    """One bit of a file, changed; its size stays."""
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def truncate(path: Path) -> None:
    """A file without its last byte."""
    path.write_bytes(path.read_bytes()[:-1])


def test_what_was_sealed_is_read_back_the_same(root: Path) -> None:
    sealed = write(root, 7, best=True)
    assert checkpoints.verified(sealed.folder, SPEC) == sealed == checkpoints.newest(root, SPEC)
    assert set(sealed.files) == {"optimizer.pt", "deep/state.json"} and sealed.size == 1001
    assert (sealed.step, sealed.claim, sealed.best, sealed.spec) == (7, 3, True, SPEC)


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("name", ["optimizer.pt", "deep/state.json"])
def test_any_change_to_any_file_is_found(root: Path, harm: Callable[[Path], Any], name: str) -> None:
    write(root, 1)
    harm(write(root, 2).folder / name)
    assert checkpoints.verified(checkpoints.folder_of(root, 2), SPEC) is None
    found = checkpoints.newest(root, SPEC)
    assert found is not None and found.step == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"step": 1}', '"x"'])
def test_a_broken_seal_is_no_seal(root: Path, text: str) -> None:
    folder = write(root, 1).folder
    (folder / SEAL).write_text(text)
    assert checkpoints.verified(folder, SPEC) is None and checkpoints.sealed(root) == []


def test_a_checkpoint_of_another_run_is_not_gone_on_from(root: Path) -> None:
    other = checkpoints.spec_hash({"training": {"seed": 2}}, "repo", "main", "0" * 64)
    folder = write(root, 1, spec=other).folder
    assert checkpoints.verified(folder, SPEC) is None and checkpoints.newest(root, SPEC) is None


def test_nothing_is_found_where_nothing_was_saved(root: Path) -> None:
    assert checkpoints.newest(root, SPEC) is None
    unsealed(root, 1)
    assert checkpoints.newest(root, SPEC) is None


def test_the_two_newest_and_the_best_are_kept(root: Path) -> None:
    for step in (1, 2, 3, 10, 11):
        write(root, step, best=step in (1, 2))
    checkpoints.rotate(root, SPEC)
    assert steps(root) == [2, 10, 11]


def test_what_was_never_sealed_goes(root: Path) -> None:
    write(root, 1)
    unsealed(root, 2)
    checkpoints.rotate(root, SPEC)
    assert steps(root) == [1]


def test_rotation_leaves_a_single_checkpoint_alone(root: Path) -> None:
    write(root, 5)
    checkpoints.rotate(root, SPEC)
    checkpoints.rotate(root, SPEC)
    assert steps(root) == [5]


def test_the_hash_of_a_spec_does_not_depend_on_the_order_of_its_keys() -> None:
    one = checkpoints.spec_hash({"a": 1, "b": 2}, "r", "v", "d")
    assert one == checkpoints.spec_hash({"b": 2, "a": 1}, "r", "v", "d")
    others = [({"a": 1}, "r", "v", "d"), ({"a": 1, "b": 2}, "x", "v", "d"), ({"a": 1, "b": 2}, "r", "v", "x")]
    assert one not in [checkpoints.spec_hash(*other) for other in others]
