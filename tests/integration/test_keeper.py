"""Who keeps the playground's process: one base model at a time, and nobody is cut off for another one's question."""

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

LONG: Any = {"messages": [{"role": "user", "content": "A long story."}], "temperature": 0, "max_tokens": 4000}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[ApiStudio]:
    with answering(tmp_path / "data") as running:
        yield running


@pytest.fixture
def other(studio: ApiStudio, tmp_path: Path) -> ModelRef:
    return look_up(str(make_tiny_model(tmp_path / "other", seed=5)), "main", studio.services.settings).ref


def is_wanted(studio: ApiStudio, base: ModelRef) -> bool:
    row = studio.services.machines.engine("here")
    return row is not None and (row.wanted_repo, row.wanted_revision) == (base.repo, base.revision)


def test_an_answer_is_made_to_its_end_before_another_base_model_comes(studio: ApiStudio, other: ModelRef) -> None:
    with studio.client() as client, ThreadPoolExecutor(1) as pool:
        answer = iter(client.chat.completions.create(model=STARTER_REPO, stream=True, **LONG))
        next(answer)
        coming = pool.submit(open_engine, studio.services, other.repo, other.revision)
        wait_until(lambda: is_wanted(studio, other))
        with pytest.raises(openai.APIError, match="Another base model was asked for"):
            client.chat.completions.create(model=STARTER_REPO, **LONG)
        assert list(answer)[-1].choices[0].finish_reason == "length"
        assert (coming.result(60).health() or {})["base"] == "other"
