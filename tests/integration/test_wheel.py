"""The built wheel is whole: installed into an empty environment it brings assets, migrations and both processes."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.waiting import free_port, wait_until

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that holds nothing but our wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        check=True,
    )
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = folder.glob("tunesmith-*.whl")
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel)], check=True)
    return folder / "venv/bin"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A clean environment with its own data dir and a free port; the checkout is not on the path."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ours = {"TUNESMITH_DATA_DIR": str(tmp_path / "data"), "TUNESMITH_PORT": str(free_port()), "HF_HUB_OFFLINE": "1"}
    return {**kept, **ours}


def test_the_doctor_of_the_wheel_examines_the_machine(bare: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = [str(bare / "tunesmith"), "doctor", "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["ok"], report["problems"]
    assert report["matmul_gflops"]["float32"] > 1


@pytest.fixture
def web(bare: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of the wheel's web process."""
    process = subprocess.Popen([str(bare / "tunesmith"), "web"], env=environment, cwd=tmp_path)
    yield f"http://127.0.0.1:{environment['TUNESMITH_PORT']}"
    process.terminate()
    process.wait(15)


def test_the_web_process_of_the_wheel_draws_its_pages_with_our_stylesheet(web: str) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"{web}/healthz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    wait_until(answers, 60)
    for path in ("/", "/new", "/runs", "/run", "/datasets", "/playground"):
        assert httpx.get(web + path, trust_env=False).status_code == 200, path
    assert "--ts-accent" in httpx.get(f"{web}/theme.css", trust_env=False).text
