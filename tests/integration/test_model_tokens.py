import logging
import os
from collections.abc import Iterator

import psutil
import pytest

from studio.core import models
from studio.core.errors import Faults, Refused, StudioError
from studio.core.hub import GatedModel, NoModel
from studio.core.services import Services
from studio.core.use_cases.submit import Order, submit
from studio.core.use_cases.token_models import fetch_with_token
from tests.integration.hub_models import CHAT, files, hub_of_models
from tests.integration.hub_server import Hub, Repo

TOKEN = "hf_of_a_person"
GATED, SECRET = "acme/gated", "acme/secret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_of_models(monkeypatch) as running:
        running.repos[GATED] = Repo(files(), gated=True, readers=(TOKEN,), parameters=10_000, downloads=7)
        running.repos[SECRET] = Repo(files(), private=True, readers=(TOKEN,))
        yield running


def test_a_gated_model_comes_with_a_persons_token_and_needs_none_afterwards(
    server: Hub, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.pause = 0.2
    seen: list[str] = []

    def spy(_share: float, _words: str) -> None:
        for child in psutil.Process().children():
            seen.append(repr((child.cmdline(), child.environ())))

    facts = fetch_with_token(services, "me", GATED, "main", f" {TOKEN}\n", spy)
    assert facts.is_here and (facts.gated, facts.owner, facts.downloads) == (True, "me", 7)
    assert any("studio.fetching" in words for words in seen)
    assert set(server.tokens) == {f"Bearer {TOKEN}"}
    kept = [path.read_bytes() for path in services.settings.data_dir.rglob("*") if path.is_file()]
    assert kept and not any(TOKEN.encode() in data for data in kept)
    assert TOKEN not in "".join(seen) + caplog.text + repr(os.environ)
    server.requests.clear()
    assert models.ready_folder(GATED, facts.ref.revision, services.settings).folder == facts.ref.folder
    assert server.requests == []
    assert models.look_up(GATED, "main", services.settings, "me") == facts


def test_what_one_persons_token_opened_is_not_open_to_another(server: Hub, services: Services) -> None:
    fetch_with_token(services, "me", GATED, "main", TOKEN)
    assert [ref.repo for ref in models.here(services.settings, "me")][1:] == [GATED]
    assert models.here(services.settings, "another")[1:] == []
    commit = server.repos[GATED].commit
    for revision in ("main", commit):
        with pytest.raises(GatedModel):
            models.look_up(GATED, revision, services.settings, "another")


def test_an_open_model_fetched_with_a_token_is_open_to_all(server: Hub, services: Services) -> None:
    server.repos[CHAT].readers = (TOKEN,)
    assert fetch_with_token(services, "me", CHAT, "main", TOKEN).owner == ""


def test_a_private_model_comes_with_the_token_of_one_who_may_read_it(server: Hub, services: Services) -> None:
    with pytest.raises(NoModel):
        models.look_up(SECRET, "main", services.settings, "me")
    assert fetch_with_token(services, "me", SECRET, "main", TOKEN).owner == "me"
    assert models.look_up(SECRET, "main", services.settings, "me").is_here


@pytest.mark.parametrize(
    ("repo", "token", "words"),
    [
        (GATED, "hf_of_another", r"is gated: .*huggingface\.co/acme/gated"),
        (SECRET, "hf_of_another", "No model called 'acme/secret'"),
        (CHAT, "hf_wrong", "does not let this token read the model"),
        (CHAT, "", "No token was given"),
        (CHAT, "a b", "This is no token"),
    ],
)
def test_a_token_that_opens_nothing_is_refused_and_not_repeated(
    server: Hub, services: Services, repo: str, token: str, words: str
) -> None:
    with pytest.raises(Refused, match=words) as refused:
        fetch_with_token(services, "me", repo, "main", token)
    assert refused.value.remedy and (not token or token not in str(refused.value))
    assert not list(services.settings.models_dir.rglob("*.safetensors"))


def test_a_gated_model_is_refused_at_submit_and_one_that_was_closed_since_at_start_with_the_link(
    server: Hub, services: Services
) -> None:
    with pytest.raises(Faults) as faults:
        submit(services, "me", Order("", "none", {"base": {"repo": GATED}}))
    assert any("huggingface.co/acme/gated" in fault.problem for fault in faults.value.faults)
    ref = models.look_up(CHAT, "main", services.settings).ref
    server.repos[CHAT].gated = True
    with pytest.raises(GatedModel) as closed:
        models.ready_folder(CHAT, ref.revision, services.settings)
    assert (closed.value.reason, closed.value.page) == ("gated_model", f"https://huggingface.co/{CHAT}")


def test_a_fetch_that_is_cancelled_leaves_no_model(server: Hub, services: Services) -> None:
    server.pause = 0.2

    def stop(_share: float, _words: str) -> None:
        raise StudioError("Cancelled.")

    with pytest.raises(StudioError, match="Cancelled"):
        fetch_with_token(services, "me", GATED, "main", TOKEN, stop)
    assert models.here(services.settings)[1:] == []


def test_a_model_for_which_the_disk_has_no_room_is_refused_before_it_is_fetched(
    server: Hub, services: Services
) -> None:
    services.settings.__dict__["disk_floor_bytes"] = 10**15
    with pytest.raises(Faults) as faults:
        submit(services, "me", Order("", "none", {"base": {"repo": CHAT}}))
    assert "are to be fetched" in str([fault.problem for fault in faults.value.faults])
    with pytest.raises(Refused, match="are to be fetched"):
        fetch_with_token(services, "me", GATED, "main", TOKEN)
    assert not list(services.settings.models_dir.rglob("*.safetensors"))
