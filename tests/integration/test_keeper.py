"""Who keeps the playground's process: one base model at a time, and nobody is cut off for another one's question."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from studio.core.catalog import STARTER_REPO
from studio.core.models import ModelRef, look_up
from studio.core.use_cases.chat import open_engine
from tests.integration.api_studio import ApiStudio, answering
from tests.integration.tiny import make_tiny_model
from tests.waiting import wait_until

QUESTION: Any = {"messages": [{"role": "user", "content": "A long story."}], "temperature": 0}


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiStudio]:
    monkeypatch.setattr("worker.keeper.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("worker.keeper.FINISH_SECONDS", 200.0)
    with answering(tmp_path / "data") as running:
        yield running


@pytest.fixture
def other(studio: ApiStudio, tmp_path: Path) -> ModelRef:
    return look_up(str(make_tiny_model(tmp_path / "other", seed=5)), "main", studio.services.settings).ref


def is_wanted(studio: ApiStudio, base: ModelRef) -> bool:
    row = studio.services.machines.engine("here")
    return row is not None and (row.wanted_repo, row.wanted_revision) == (base.repo, base.revision)


def test_an_answer_is_made_to_its_end_before_another_base_model_comes(studio: ApiStudio, other: ModelRef) -> None:
    with studio.client() as client, ThreadPoolExecutor(2) as pool:
        answer = iter(client.chat.completions.create(model=STARTER_REPO, stream=True, max_tokens=2000, **QUESTION))
        next(answer)
        coming = pool.submit(open_engine, studio.services, other.repo, other.revision, 250.0)
        wait_until(lambda: is_wanted(studio, other))
        with pytest.raises(openai.APIError, match="Another base model was asked for"):
            client.chat.completions.create(model=STARTER_REPO, **QUESTION)
        again = pool.submit(open_engine, studio.services, other.repo, other.revision, 250.0)
        assert list(answer)[-1].choices[0].finish_reason == "length"
        assert (coming.result().health() or {})["base"] == "other"
        assert (again.result().health() or {})["base"] == "other"


def test_an_answer_that_takes_too_long_for_those_who_wait_is_ended_with_a_word(
    studio: ApiStudio, other: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.keeper.FINISH_SECONDS", 1.0)
    with studio.client() as client:
        answer = iter(client.chat.completions.create(model=STARTER_REPO, stream=True, max_tokens=50_000, **QUESTION))
        next(answer)
        open_engine(studio.services, other.repo, other.revision, 100.0)
        with pytest.raises(openai.APIError, match="was ended in the middle of the answer"):
            list(answer)


def test_an_engine_that_died_keeps_nobody_from_another_base_model(studio: ApiStudio, other: ModelRef) -> None:
    with studio.client() as client:
        client.chat.completions.create(model=STARTER_REPO, max_tokens=2, **QUESTION)
    row = studio.services.machines.engine("here")
    assert row is not None and row.pid is not None
    os.kill(row.pid, 9)
    wait_until(lambda: has_ended(studio))
    assert (open_engine(studio.services, other.repo, other.revision, 100.0).health() or {})["base"] == "other"


def has_ended(studio: ApiStudio) -> bool:
    row = studio.services.machines.engine("here")
    return row is not None and row.socket is None and row.problem is not None
