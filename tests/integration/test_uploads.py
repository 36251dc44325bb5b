"""Uploads arrive in a private folder and are moved out at once, or swept."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from studio.app import build_app
from studio.core.errors import Refused
from studio.core.settings import Settings
from studio.shell.crowd import Crowd
from studio.shell.uploads import clean_name, prepare_uploads, sweep_uploads, take_upload, uploads_dir


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The web app on a fresh data dir."""
    settings.data_dir.mkdir()
    with TestClient(build_app(settings, None), base_url="http://127.0.0.1:7860") as client:
        yield client


def upload(settings: Settings, name: str = "orders.csv") -> Path:
    """A file where Gradio puts it."""
    path = prepare_uploads(settings) / "0123" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("a,b\n")
    return path


def test_an_upload_arrives_privately_and_is_moved_out_under_its_name(client: TestClient, settings: Settings) -> None:
    answer = client.post("/gradio_api/upload", files={"files": ("my file.csv", b"a,b\n1,2\n")})
    (path,) = answer.json()
    assert Path(path).is_relative_to(uploads_dir(settings).resolve())
    assert uploads_dir(settings).stat().st_mode & 0o777 == 0o700
    target = settings.data_dir / "datasets" / "x" / "original"
    assert take_upload(settings, path, target) == "my file.csv"
    assert target.read_bytes() == b"a,b\n1,2\n" and not Path(path).exists() and not Path(path).parent.exists()


def test_an_upload_beyond_the_limit_gets_413(settings: Settings) -> None:
    settings.data_dir.mkdir()
    small = build_app(settings.model_copy(update={"max_upload_bytes": 10}), None)
    with TestClient(small, base_url="http://127.0.0.1:7860") as client:
        answer = client.post("/gradio_api/upload", files={"files": ("a.csv", b"x" * 100)})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "forged", ["/etc/hostname", "relative.csv", "", "{0}/../../tunesmith.db", "{0}", "{0}/link", "{0}/0123"]
)
def test_a_forged_path_is_not_taken(settings: Settings, forged: str) -> None:
    upload(settings)
    (settings.data_dir / "tunesmith.db").write_text("x")
    link = uploads_dir(settings) / "link"
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/hostname")
    with pytest.raises(Refused):
        take_upload(settings, forged.format(uploads_dir(settings)), settings.data_dir / "taken")
    assert (settings.data_dir / "tunesmith.db").exists() and not (settings.data_dir / "taken").exists()


def test_what_nobody_took_is_swept(settings: Settings) -> None:
    old, young = upload(settings, "old.csv"), upload(settings, "young.csv")
    os.utime(old, (time.time() - 700,) * 2)
    assert sweep_uploads(settings) >= 1
    assert not old.exists() and young.exists()


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("a/b/c.csv", "c.csv"),
        ("..\\x.csv", "x.csv"),
        ("a\x1b[31m\nb.csv", "a[31mb.csv"),
        ("", "upload"),
        ("..", "upload"),
        ("x" * 300 + ".jsonl", "x" * 114 + ".jsonl"),
    ],
)
def test_a_name_is_one_printable_line(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


def test_one_person_has_eight_uploads_at_once_and_others_are_not_touched() -> None:
    crowd, scope = Crowd(), {"type": "http", "method": "POST", "path": "/gradio_api/upload"}
    with ExitStack() as under_way:
        mine = [under_way.enter_context(crowd.seat({**scope, "client": ("1.1.1.1", n)})) for n in range(200)]
        assert mine == [True] * 8 + [False] * 192
        assert under_way.enter_context(crowd.seat({**scope, "client": ("2.2.2.2", 1)}))
        assert under_way.enter_context(crowd.seat({**scope, "path": "/", "client": ("1.1.1.1", 1)}))
    with crowd.seat({**scope, "client": ("1.1.1.1", 1)}) as again:
        assert again


def test_an_upload_beyond_that_is_told_by_a_429(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.shell.crowd.MOST_AT_ONCE", 0)
    answer = client.post("/gradio_api/upload", files={"files": ("x.csv", b"a")})
    assert answer.status_code == 429 and "at once" in answer.json()["problem"]
