"""The OpenAI-shaped API, asked by the unchanged `openai` client: names, answers, streams, faults, who leaves."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from studio.api import asks
from studio.core.catalog import STARTER_REPO
from studio.core.checkpoints import folder_of, seal
from studio.core.errors import NotFound
from studio.core.services import Services
from studio.core.stores.runs import Event
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.keys import needs_key
from studio.core.use_cases.named_models import base_name, find_model, models_of, tuned_name
from studio.ui.code_card import Call, curl, messages_of, python
from tests.integration.api_studio import ApiStudio, answering, fill, get
from tests.integration.records import add_run
from tests.waiting import wait_until

CHAT: Any = [{"role": "user", "content": "The capital of France is"}]
GREEDY: Any = {"messages": CHAT, "temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiStudio]:
    with answering(tmp_path_factory.mktemp("api") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def client(studio: ApiStudio) -> Iterator[OpenAI]:
    with studio.client() as made:
        yield made


def names(studio: ApiStudio) -> list[str]:
    """The base and both adapters."""
    return [STARTER_REPO, *(tuned_name(run) for run in studio.runs)]


def streamed(client: OpenAI, model: str, **more: Any) -> str:
    with client.chat.completions.create(model=model, stream=True, **GREEDY | more) as stream:
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def test_models_are_listed_starter_first_without_an_engine(studio: ApiStudio, client: OpenAI) -> None:
    listed = list(client.models.list())
    first, second = studio.runs
    assert listed[0].id == STARTER_REPO
    tuned = {f"ft:{STARTER_REPO}:run:{second.id}", f"ft:{STARTER_REPO}:first:{first.id}"}  # 两 has no plain letter
    assert {model.id for model in listed[1:]} == tuned
    assert client.models.retrieve(listed[2].id) == listed[2] and listed[2].created > 1_700_000_000
    assert studio.services.machines.engine("here") is None


def test_a_streamed_answer_is_the_whole_one_for_the_base_and_both_adapters(studio: ApiStudio, client: OpenAI) -> None:
    told = {}
    for name in names(studio):
        whole = client.chat.completions.create(model=name, **GREEDY)
        assert whole.model == name and whole.choices[0].finish_reason == "length"
        assert whole.usage is not None and whole.usage.completion_tokens == 24
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + 24
        told[name] = whole.choices[0].message.content
        assert streamed(client, name) == told[name]
    assert len(set(told.values())) == 3


def test_a_stream_tells_its_usage_at_the_end_where_it_is_asked(client: OpenAI) -> None:
    more: Any = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = client.chat.completions.create(model=STARTER_REPO, **GREEDY, **more)
    assert last.choices == [] and last.usage is not None and last.usage.completion_tokens == 24
    assert {chunk.id for chunk in chunks} == {last.id} and all(chunk.usage is None for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason == "length"


def test_stop_ends_an_answer_and_the_newer_name_of_the_limit_counts(client: OpenAI) -> None:
    text = client.chat.completions.create(model=STARTER_REPO, **GREEDY).choices[0].message.content or ""
    short = client.chat.completions.create(model=STARTER_REPO, **GREEDY, stop=text[5:8]).choices[0]
    assert short.message.content == text[: text.index(text[5:8])] and short.finish_reason == "stop"
    few = client.chat.completions.create(model=STARTER_REPO, messages=CHAT, max_completion_tokens=3)
    assert few.usage is not None and few.usage.completion_tokens == 3


def test_a_seed_repeats_an_answer_and_its_choices_differ(client: OpenAI) -> None:
    def ask(**more: Any) -> list[str | None]:
        told = client.chat.completions.create(model=STARTER_REPO, messages=CHAT, max_tokens=16, **more)
        assert told.usage is not None and told.usage.completion_tokens == 16 * len(told.choices)
        return [choice.message.content for choice in told.choices]

    assert ask(seed=7) == ask(seed=7) != ask(seed=8)
    both = ask(seed=7, n=2)
    assert both[0] == ask(seed=7)[0] and both[1] == ask(seed=8)[0] != both[0]
    with client.chat.completions.create(
        model=STARTER_REPO, messages=CHAT, max_tokens=16, seed=7, n=2, stream=True
    ) as stream:
        texts = ["", ""]
        for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == both


def test_the_chances_of_tokens_are_told_streamed_or_whole(client: OpenAI) -> None:
    more: Any = {"model": STARTER_REPO, "messages": CHAT, "temperature": 0, "max_tokens": 6}
    whole = client.chat.completions.create(**more, logprobs=True, top_logprobs=2)
    assert whole.choices[0].logprobs is not None and whole.system_fingerprint
    told = whole.choices[0].logprobs.content or []
    assert len(told) == 6 and all(len(one.top_logprobs) == 2 and one.logprob <= 0 for one in told)
    chunks = client.chat.completions.create(**more, logprobs=True, top_logprobs=2, stream=True)
    pieces = [chunk.choices[0].logprobs.content or [] for chunk in chunks if chunk.choices[0].logprobs]
    assert [one.token for piece in pieces for one in piece] == [one.token for one in told]


def test_parts_of_text_and_the_developers_role_are_read(client: OpenAI) -> None:
    plain: Any = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello you"}]
    parts: Any = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "you"}]},
    ]
    assert streamed(client, STARTER_REPO, messages=parts) == streamed(client, STARTER_REPO, messages=plain)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"n": 99}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"response_format": {"type": "json_object"}}, None),
        ({"messages": [{"role": "user", "content": "東" * 30_000}]}, None),
    ],
)
def test_a_wrong_question_is_a_400_that_names_its_fault(client: OpenAI, wrong: Any, param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": STARTER_REPO, **GREEDY, **wrong})
    assert caught.value.param == param and caught.value.type == "invalid_request_error"


def test_what_is_not_there_is_a_404_in_openais_shape(studio: ApiStudio, client: OpenAI) -> None:
    for name in ("nobody", "ft:a:b:abcdefghijk2", "ft:a:b:../../etc"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model=name, **GREEDY)
        assert caught.value.code == "model_not_found"
    answer = get(f"{studio.url}/v1/embeddings")
    assert answer.status_code == 404 and answer.json()["error"]["code"] == "unknown_url"


def test_a_body_that_is_no_question_is_refused(studio: ApiStudio) -> None:
    url = f"{studio.url}/v1/chat/completions"
    most = studio.services.settings.api_body_bytes
    for body, status in ((b"{", 400), (b"[" * 100_000, 400), (b'{"model": "a" }', 400), (b" " * (most + 1), 413)):
        answer = httpx.post(url, content=body, trust_env=False)
        assert answer.status_code == status and answer.json()["error"]["message"]


def test_a_page_of_another_origin_gets_nothing(studio: ApiStudio) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = get(f"{studio.url}/v1/models", **headers)
        assert answer.status_code == 403 and "another site" in answer.json()["error"]["message"]
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_who_leaves_a_stream_ends_only_their_own(studio: ApiStudio, client: OpenAI) -> None:
    endless: Any = {"model": STARTER_REPO, "messages": CHAT, "temperature": 0, "max_tokens": 50_000, "stream": True}
    gone = client.chat.completions.create(**endless)
    next(chunk for chunk in gone if chunk.choices[0].delta.content)
    stays = client.chat.completions.create(**endless)
    wait_until(lambda: studio.requests() == 2, 5)
    gone.close()
    wait_until(lambda: studio.requests() == 1, 5)
    assert any(chunk.choices[0].delta.content for chunk in stays)
    stays.close()
    wait_until(lambda: studio.requests() == 0, 5)


def test_who_leaves_a_whole_answer_ends_it(studio: ApiStudio, client: OpenAI) -> None:
    endless: Any = {"model": STARTER_REPO, "messages": CHAT, "temperature": 0, "max_tokens": 50_000, "n": 2}
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(**endless, timeout=1)
    wait_until(lambda: studio.requests() == 0, 5)


def test_a_killed_engine_is_an_error_and_the_next_question_works(studio: ApiStudio, client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=STARTER_REPO, messages=CHAT, temperature=0, max_tokens=50_000, stream=True
    )
    next(iter(stream))
    row = studio.services.machines.engine("here")
    assert row is not None and row.pid is not None
    os.kill(row.pid, 9)
    with pytest.raises(openai.APIError, match="does not answer"):
        list(stream)
    assert client.with_options(max_retries=5).chat.completions.create(model=STARTER_REPO, **GREEDY).choices


def test_another_persons_models_are_not_there(services: Services) -> None:
    opened, runs = fill(services.settings.data_dir)
    try:
        name = tuned_name(runs[0])
        assert find_model(opened, LOCAL_USER, name).run == runs[0]
        with pytest.raises(NotFound, match="does not exist"):
            find_model(opened, "somebody", name)
        assert [model.run for model in models_of(opened, "somebody")] == [None]
    finally:
        opened.db.close()
        opened.bell.huey.storage.close()


def test_the_checkpoints_of_a_run_that_goes_can_be_asked(services: Services) -> None:
    run = add_run(services, "Still going")
    for state in ("starting", "running"):
        event = Event(time.time(), state, state, "")
        assert services.runs.move(services.runs.get(run.id, LOCAL_USER), state, event)  # type: ignore[arg-type]
    folder = folder_of(services.artifacts.checkpoints_dir(run.id), 30)
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    seal(folder, 30, 1, "spec")
    name = f"{tuned_name(run)}:ckpt-step-30"
    assert [model.name for model in models_of(services, LOCAL_USER)][-1] == name
    assert find_model(services, LOCAL_USER, name).asked_as == f"{run.id}@30"
    for other in (tuned_name(run), name + "1", f"{tuned_name(run)}:ckpt-step-"):
        with pytest.raises(NotFound):
            find_model(services, LOCAL_USER, other)


def test_a_folder_as_base_model_is_named_without_its_path() -> None:
    name = base_name("/home/anna/My Models/Größe 7B")
    assert name.startswith("local/gr-e-7b-") and "anna" not in name and name != base_name("/srv/Größe 7B")


CURL = """#!{python}
import sys, urllib.request
url, headers, body = sys.argv[1], [], None
for flag, value in zip(sys.argv[2::2], sys.argv[3::2]):
    headers, body = (headers + [value.split(": ", 1)], body) if flag == "-H" else (headers, value)
asked = urllib.request.Request(url, body.encode(), dict(headers))
print(urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(asked).read().decode())
"""
"""A stand-in where the machine has no curl."""


def test_the_shown_examples_work_as_they_are_pasted(
    studio: ApiStudio, client: OpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asks, "PLENTY", 24)  # this model never ends by itself
    run = studio.runs[1]
    call = Call(studio.url, tuned_name(run), messages_of(run), needs_key(studio.services))
    assert [message["role"] for message in call.messages] == ["system", "user"] and not call.needs_key
    asked: Any = {"model": call.model, "messages": call.messages, "temperature": 0}
    expected = client.chat.completions.create(**asked).choices[0].message.content
    if shutil.which("curl") is None:
        stand_in = tmp_path / "curl"
        stand_in.write_text(CURL.format(python=sys.executable))
        stand_in.chmod(0o755)
    path = f"{os.environ['PATH']}:{tmp_path}"
    environment = {**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def pasted(program: list[str], text: str) -> str:
        done = subprocess.run(program, input=text, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert pasted([sys.executable, "-"], python(call)) == f"{expected}\n"
    told = json.loads(pasted(["bash"], curl(call)))
    assert told["choices"][0]["message"]["content"] == expected
