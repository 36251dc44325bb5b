"""Kills for want of memory, from the counters as kernels write them (recorded: nothing here can be made to run out)."""

from pathlib import Path

from worker.cgroup import oom_kills

V2 = "low 0\nhigh 0\nmax 41\noom 3\noom_kill 2\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"
OLD_V1 = "oom_kill_disable 0\nunder_oom 0\n"


def group(root: Path, membership: str, **files: str) -> tuple[Path, Path]:
    """A tree of counters and the file that says which group is ours."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_events", ".events").replace("_oom", ".oom")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    own = root / "own"
    own.write_text(membership)
    return root, own


def test_version_two_is_read_from_our_own_group(tmp_path: Path) -> None:
    assert oom_kills(*group(tmp_path, "0::/user/run\n", user__run__memory_events=V2)) == 2


def test_in_a_container_the_root_is_our_group(tmp_path: Path) -> None:
    assert oom_kills(*group(tmp_path, "0::/\n", memory_events=V2)) == 2


def test_version_one_is_read_from_the_memory_controller(tmp_path: Path) -> None:
    made = group(tmp_path, "4:memory:/box/a\n1:cpu:/\n0::/\n", memory__box__a__memory_oom_control=V1)
    assert oom_kills(*made) == 7


def test_a_kernel_that_does_not_count_gives_nothing(tmp_path: Path) -> None:
    assert oom_kills(*group(tmp_path, "4:memory:/a\n", memory__a__memory_oom_control=OLD_V1)) is None
    assert oom_kills(tmp_path, tmp_path / "missing") is None
