import time
from collections.abc import Iterator

import pytest

from studio.core import hub_search, models
from studio.core.errors import Refused
from studio.core.hub import HubUnreachable
from studio.core.hub_search import Found, near_names, search
from studio.core.settings import Settings
from tests.integration.hub_models import CHAT, files, hub_of_models
from tests.integration.hub_server import Hub, Repo

BIG, SMALL = "qwen/Qwen9-1.5B-Instruct", "qwen/Qwen9-0.5B-Instruct"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of_models(monkeypatch) as running:
        running.repos[SMALL] = Repo(files(), downloads=5_000, parameters=494_032_768)
        running.repos[BIG] = Repo(files(), downloads=90_000, parameters=1_543_714_304, licence="mit", gated=True)
        yield running


def test_the_hub_is_searched_for_text_models_with_safetensors_the_most_downloaded_first(server: Hub) -> None:
    assert search("  qwen9 ") == [
        Found(BIG, 1_543_714_304, "mit", 90_000, True), Found(SMALL, 494_032_768, "apache-2.0", 5_000, False)
    ]  # fmt: skip
    asked = server.queries[0]
    assert (asked["filter"], asked["pipeline_tag"], asked["limit"]) == (["safetensors"], ["text-generation"], ["12"])
    assert server.tokens == []


def test_nothing_is_asked_where_nothing_was_typed_or_the_hub_is_off(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search("   ") == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert search("qwen") == near_names("qwen/qwen") == []
    assert server.requests == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy_is_not_asked_again_while_a_person_types(server: Hub, status: int) -> None:
    server.fail = [status, status]
    with pytest.raises(HubUnreachable, match="does not answer"):
        search("qwen")
    assert len(server.requests) == 1


def test_a_hub_that_hangs_ends_the_search_soon(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.hang = 5.0
    start = time.monotonic()
    with pytest.raises(HubUnreachable):
        search("qwen", timeout=0.3)
    assert time.monotonic() - start < 3


def test_a_name_that_is_nearly_one_gets_the_names_near_it(server: Hub, settings: Settings) -> None:
    with pytest.raises(Refused) as refused:
        models.look_up("qwen/Qwen9-0.5B-Instuct", "main", settings)
    assert refused.value.problem == "No model called 'qwen/Qwen9-0.5B-Instuct' on the Hub."
    assert refused.value.remedy.startswith(f"Did you mean {SMALL}")
    with pytest.raises(Refused, match=f"Did you mean {CHAT}") as refused:
        models.look_up("tiny-chat", "main", settings)
    assert near_names("zzz/nothing-like-it") == []


def test_a_wrong_name_is_still_refused_where_the_search_fails(
    server: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> list[Found]:
        raise HubUnreachable("The Hub does not answer.")

    monkeypatch.setattr(hub_search, "search", busy)
    with pytest.raises(Refused, match="No model called") as refused:
        models.look_up("acme/nothing", "main", settings)
    assert "Choose the starter model" in refused.value.remedy
