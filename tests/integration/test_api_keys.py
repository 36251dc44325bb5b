"""Who may ask the API: keys made, shown once, kept as hashes, revoked; and how much one key may ask."""

from collections.abc import Iterator

import httpx
import openai
import pytest
from fastapi.routing import APIRoute
from openai import OpenAI

from studio.api.allowance import Allowance
from studio.api.door import secret_of
from studio.api.errors import ApiError
from studio.api.routes import api_router
from studio.core.errors import Conflict, NotFound, Refused
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.keys import MOST_KEYS
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.keys import find_key, make_key
from tests.integration.api_studio import get, serving

PER_MINUTE = 12


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Services]]:
    """A studio that others can reach, so that it asks for keys."""
    folder = tmp_path_factory.mktemp("keys") / "data"
    services = open_services(
        Settings(data_dir=folder, host="0.0.0.0", trusted_network=True, api_per_minute=PER_MINUTE, api_body_bytes=500)
    )
    with serving(services) as url:
        yield url, services
    services.db.close()
    services.bell.huey.storage.close()


def client(url: str, key: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def test_a_key_opens_until_it_is_revoked(guarded: tuple[str, Services]) -> None:
    url, services = guarded
    key, secret = make_key(services, LOCAL_USER, " my  laptop ")
    assert key.name == "my laptop" and secret.endswith(key.hint) and services.keys.of(LOCAL_USER) == [key]
    for wrong in ("nothing", secret[:-1], "tsk-" + "a" * 43, f"{secret} x"):
        with client(url, wrong) as asking, pytest.raises(openai.AuthenticationError) as caught:
            asking.models.list()
        assert caught.value.code == "invalid_api_key" and secret not in str(caught.value)
    with client(url, secret) as asking:
        assert next(iter(asking.models.list())).id
        (noted,) = services.keys.of(LOCAL_USER)
        assert noted.last_used_at is not None
        services.keys.revoke(key.id, LOCAL_USER)
        with pytest.raises(openai.AuthenticationError):
            asking.models.list()
    assert services.keys.of(LOCAL_USER) == []


def test_the_secret_is_kept_nowhere(guarded: tuple[str, Services]) -> None:
    _, services = guarded
    key, secret = make_key(services, LOCAL_USER, "kept as a hash")
    for path in services.settings.data_dir.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    services.keys.revoke(key.id, LOCAL_USER)


def test_every_route_asks_for_a_key_before_anything_else(services: Services) -> None:
    routes = [route for route in api_router(services).routes if isinstance(route, APIRoute)]
    assert len(routes) == 4
    for route in routes:
        first = route.dependant.dependencies[0].call
        assert type(first).__name__ == "Door", route.path


def test_without_a_key_a_question_is_a_401_with_the_way_to_one(guarded: tuple[str, Services]) -> None:
    url, _ = guarded
    answer = httpx.post(f"{url}/v1/chat/completions", content=b"x" * 10_000, trust_env=False)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert "/keys" in answer.json()["error"]["message"]


def test_who_asks_too_often_is_told_when_to_come_back(guarded: tuple[str, Services]) -> None:
    url, services = guarded
    _, secret = make_key(services, LOCAL_USER, "busy")
    _, other = make_key(services, LOCAL_USER, "calm")
    with client(url, secret) as asking:
        for _ in range(PER_MINUTE):
            asking.models.list()
        with pytest.raises(openai.RateLimitError) as caught:
            asking.models.list()
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 61
    assert caught.value.code == "rate_limit_exceeded"
    assert get(f"{url}/v1/models", Authorization=f"Bearer {other}").status_code == 200


def test_calls_are_counted_over_the_last_minute_and_answers_while_they_last() -> None:
    now = [0.0]
    allowance = Allowance(2, 3, lambda: now[0])
    for at in (0.0, 30.0):
        now[0] = at
        allowance.call("a")
    with pytest.raises(ApiError) as caught:
        allowance.call("a")
    assert caught.value.headers["retry-after"] == "30"
    allowance.call("b")
    now[0] = 60.5
    allowance.call("a")
    with allowance.seats("a", 2):
        with pytest.raises(ApiError), allowance.seats("a", 2):
            pass
        with allowance.seats("b", 3), allowance.seats("a", 1):
            pass
    with allowance.seats("a", 3):
        pass
    for _ in range(50):
        Allowance(0, 0).call("a")


def test_a_person_has_only_so_many_keys_with_names_and_only_their_own(services: Services) -> None:
    for name in ("", " ", "x" * 61):
        with pytest.raises(Refused):
            make_key(services, LOCAL_USER, name)
    made = [make_key(services, LOCAL_USER, f"key {i}")[0] for i in range(MOST_KEYS)]
    with pytest.raises(Conflict, match="as many as can be"):
        make_key(services, LOCAL_USER, "one more")
    with pytest.raises(NotFound):
        services.keys.revoke(made[0].id, "somebody")
    services.keys.revoke(made[0].id, LOCAL_USER)
    key, secret = make_key(services, LOCAL_USER, "one more")
    found = find_key(services, secret)
    assert found is not None and found.id == key.id


def test_only_a_bearer_is_read() -> None:
    assert secret_of(["Bearer abc"]) == "abc" == secret_of(["bearer  abc "])
    for odd in ([], ["abc"], ["Basic abc"], ["Bearer " + "a" * 201], ["Bearer a", "Bearer b"]):
        assert secret_of(odd) == ""
