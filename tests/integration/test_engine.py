"""The playground's process: what it answers, in whose voice, and how it ends."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from studio.core.engine_client import ChatOptions, EngineClient, Piece
from studio.core.engine_socket import prepare_socket, socket_path
from studio.core.errors import BootRefused, NotFound, Refused, Unavailable
from studio.core.settings import Settings
from tests.integration.tiny import make_tiny_adapter, make_tiny_model
from tests.waiting import wait_until

CHAT = [{"role": "user", "content": "The capital of France is"}]
GREEDY = ChatOptions(temperature=0, max_tokens=24)
ENDLESS = ChatOptions(temperature=0, max_tokens=50_000)


@dataclass
class Served:
    """A running engine."""

    process: subprocess.Popen[bytes]
    client: EngineClient
    socket: Path


@contextlib.contextmanager
def engine(base: Path, socket: Path, **settings: str) -> Iterator[Served]:
    """A real process that answers at `socket`."""
    environment = {**os.environ, "TUNESMITH_PARENT": str(os.getpid()), "TUNESMITH_DATA_DIR": str(socket.parent)}
    with socket.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "engine", str(base), str(socket)],
            env=environment | {"TUNESMITH_THREADS": "1"} | settings,
            stdout=log,
            stderr=log,
        )
    served = Served(process, EngineClient(socket), socket)
    try:
        wait_until(lambda: served.client.ready() or process.poll() is not None, 60)
        assert process.poll() is None, socket.with_suffix(".log").read_text()
        yield served
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base model with room for long answers that never ends its turn by itself, and two adapters."""
    root = tmp_path_factory.mktemp("models")
    base = make_tiny_model(root / "base")
    for name, change in (
        ("config.json", {"max_position_embeddings": 60_000, "eos_token_id": 0}),
        ("generation_config.json", {"eos_token_id": 0}),
        ("tokenizer_config.json", {"model_max_length": 60_000}),
    ):
        told = json.loads((base / name).read_text())
        (base / name).write_text(json.dumps(told | change))
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("'<|im_end|>'", "'<|endoftext|>'"))
    return {
        "base": base,
        "one": make_tiny_adapter(base, root / "one", seed=1),
        "two": make_tiny_adapter(base, root / "two", seed=2),
    }


@pytest.fixture(scope="module")
def served(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One engine for all tests that leave it alive."""
    with engine(folders["base"], tmp_path_factory.mktemp("run") / "engine.sock") as running:
        running.client.attach("one", folders["one"])
        yield running


def whole(pieces: Iterator[Piece]) -> tuple[str, Piece]:
    """The text of an answer and its last piece."""
    told = list(pieces)
    return "".join(piece.text for piece in told), told[-1]


def idle(served: Served) -> bool:
    """Whether nothing is being answered."""
    health = served.client.health()
    return health is not None and not health["busy"]


def test_both_columns_stream_at_the_same_time(served: Served) -> None:
    options = ChatOptions(temperature=0, max_tokens=60)
    told = list(served.client.stream_both([("base", CHAT), ("one", CHAT)], options))
    order = [column for column, piece in told if piece.text]
    assert order.index(1) < len(order) - 1 - order[::-1].index(0), "one column ended before the other began"
    texts = ["".join(piece.text for at, piece in told if at == column) for column in (0, 1)]
    assert texts[0] and texts[1] and texts[0] != texts[1]
    for last in [piece for _, piece in told if piece.done]:
        assert last.error is None and last.finish == "length"
        assert last.usage["completion_tokens"] == 60
        assert last.timings.first_token_s and last.timings.tokens_per_s


def test_an_answer_is_the_same_streamed_and_whole(served: Served) -> None:
    text, _last = whole(served.client.stream_chat("one", CHAT, GREEDY))
    body = {"model": "one", "messages": CHAT, "temperature": 0, "max_tokens": 24}
    with served.client._http(30) as http:
        answer = http.post("/v1/chat/completions", json=body).json()
    assert answer["choices"][0]["message"]["content"] == text
    assert answer["object"] == "chat.completion" and answer["choices"][0]["finish_reason"] == "length"


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(served: Served) -> None:
    def ask(seed: int) -> str:
        options = ChatOptions(temperature=1.0, top_p=0.9, max_tokens=24, seed=seed)
        return whole(served.client.stream_chat("base", CHAT, options))[0]

    assert ask(7) == ask(7)
    assert ask(7) != ask(8)


def test_a_stop_string_ends_the_answer_and_is_not_shown(served: Served) -> None:
    text, _last = whole(served.client.stream_chat("base", CHAT, GREEDY))
    stop = text[5:8]
    short, last = whole(
        served.client.stream_chat("base", CHAT, ChatOptions(temperature=0, max_tokens=24, stop=(stop,)))
    )
    assert short == text[: text.index(stop)] and last.finish == "stop"


def test_closing_an_answer_stops_the_work_on_it(served: Served) -> None:
    stream = served.client.stream_chat("base", CHAT, ENDLESS)
    assert not next(stream).done
    assert not idle(served)
    stream.close()  # type: ignore[attr-defined]
    wait_until(lambda: idle(served), 1)


def test_closing_both_columns_stops_the_work_on_both(served: Served) -> None:
    stream = served.client.stream_both([("base", CHAT), ("one", CHAT)], ENDLESS)
    next(stream)
    assert not idle(served)
    stream.close()  # type: ignore[attr-defined]
    wait_until(lambda: idle(served), 1)


def test_a_client_that_goes_away_from_an_unstreamed_answer_stops_it(served: Served) -> None:
    body = {"model": "base", "messages": CHAT, "temperature": 0, "max_tokens": 50_000}
    with served.client._http(0.5) as http, pytest.raises(httpx.ReadTimeout):
        http.post("/v1/chat/completions", json=body)
    wait_until(lambda: idle(served), 1)


def test_an_unknown_model_is_an_error_in_openai_shape(served: Served) -> None:
    with pytest.raises(NotFound, match="No model called 'nobody'"):
        next(served.client.stream_chat("nobody", CHAT))
    with served.client._http(5) as http:
        answer = http.post("/v1/chat/completions", json={"model": "nobody", "messages": CHAT})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"top_p": 0}, {"max_tokens": 0}, {"messages": []}, {"messages": "hi"}, {"stop": [""]}],
)
def test_a_wrong_ask_is_refused_and_names_its_field(served: Served, wrong: dict[str, object]) -> None:
    with served.client._http(5) as http:
        answer = http.post("/v1/chat/completions", json={"model": "base", "messages": CHAT} | wrong)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"].startswith(next(iter(wrong)))


def test_numbers_that_are_none_are_refused(served: Served) -> None:
    with served.client._http(5) as http:
        raw = '{"model": "base", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}'
        assert http.post("/v1/chat/completions", content=raw).status_code == 422


@pytest.mark.parametrize("more", [{"n": 2}, {"logprobs": True}])
def test_beams_with_several_answers_or_chances_are_refused(served: Served, more: dict[str, object]) -> None:
    with served.client._http(5) as http:
        body = {"model": "base", "messages": CHAT, "num_beams": 2} | more
        assert http.post("/v1/chat/completions", json=body).status_code == 422


def test_the_prompt_and_its_hash_are_told_with_and_without_an_answer(served: Served) -> None:
    told = served.client.prompt("one", CHAT)
    assert told["text"].endswith("<|im_start|>assistant\n") and CHAT[0]["content"] in told["text"]
    _text, last = whole(served.client.stream_chat("one", CHAT, GREEDY))
    assert last.prompt_hash == told["prompt_hash"] and last.usage["prompt_tokens"] == told["tokens"]
    with served.client._http(30) as http:
        answer = http.post("/v1/chat/completions", json={"model": "one", "messages": CHAT}).json()
    assert answer["system_fingerprint"] == told["prompt_hash"]


def test_an_answer_goes_on_where_it_was_left(served: Served) -> None:
    text, _last = whole(served.client.stream_chat("base", CHAT, GREEDY))
    begun, go_on = (
        [*CHAT, {"role": "assistant", "content": "Paris"}],
        ChatOptions(0, max_tokens=24, continue_final=True),
    )
    assert served.client.prompt("base", begun, go_on)["text"] == served.client.prompt("base", CHAT)["text"] + "Paris"
    assert whole(served.client.stream_chat("base", begun, go_on))[0] not in ("", text)


def test_several_answers_with_the_chances_of_their_tokens(served: Served) -> None:
    options = ChatOptions(temperature=1.0, top_k=50, max_tokens=6, seed=5, n=3, logprobs=True, top_logprobs=2)
    told = list(served.client.stream_chat("base", CHAT, options))
    texts = ["".join(piece.text for piece in told if piece.choice == at) for at in range(3)]
    assert len(set(texts)) == 3 and sum(piece.done for piece in told) == 3
    alone = whole(served.client.stream_chat("base", CHAT, ChatOptions(1.0, top_p=0.95, top_k=50, max_tokens=6, seed=6)))
    assert alone[0] == texts[1], "the second of several is the one of the next seed"
    chances = [chance for piece in told if piece.choice == 0 for chance in piece.logprobs]
    assert len(chances) == 6 and all(chance["logprob"] <= 0 and len(chance["top_logprobs"]) == 2 for chance in chances)


def test_a_late_question_is_answered_while_a_long_answer_goes_on_and_figures_tell_of_both(served: Served) -> None:
    long = served.client.stream_chat("one", CHAT, ENDLESS)
    next(long)
    assert whole(served.client.stream_chat("base", CHAT, GREEDY))[1].finish == "length"
    wait_until(lambda: (served.client.health() or {})["batch"] == 1, 5)
    health = served.client.health() or {}
    assert health["queue"] == 0 and health["tokens_per_s"] > 0
    assert health["memory"] > 10**8 and health["kept"] > 0
    long.close()  # type: ignore[attr-defined]
    wait_until(lambda: idle(served), 1)


def test_a_chat_longer_than_the_model_reads_is_refused_with_both_numbers(served: Served) -> None:
    with pytest.raises(Refused, match="60,000"):
        next(served.client.stream_chat("base", [{"role": "user", "content": "東" * 30_000}], GREEDY))


def test_one_column_at_fault_leaves_the_other_alone(served: Served) -> None:
    told = list(served.client.stream_both([("base", CHAT), ("nobody", CHAT)], GREEDY))
    last = {column: piece for column, piece in told if piece.done}
    assert last[0].finish == "length" and last[0].error is None
    assert isinstance(last[1].error, NotFound)


def test_adapters_come_and_go(served: Served, folders: dict[str, Path]) -> None:
    before = whole(served.client.stream_chat("base", CHAT, GREEDY))[0]
    served.client.attach("two", folders["two"])
    served.client.attach("two", folders["two"])
    two = whole(served.client.stream_chat("two", CHAT, GREEDY))[0]
    served.client.attach("two", folders["one"])
    assert whole(served.client.stream_chat("two", CHAT, GREEDY))[0] != two
    served.client.detach("two")
    with pytest.raises(NotFound):
        served.client.detach("two")
    assert whole(served.client.stream_chat("base", CHAT, GREEDY))[0] == before


@pytest.mark.parametrize("name", ["base", "", "../one", "a/b", ".hidden", "x" * 65])
def test_an_unsafe_name_of_an_adapter_is_refused(served: Served, folders: dict[str, Path], name: str) -> None:
    with pytest.raises(Refused):
        served.client.attach(name, folders["two"])


def test_a_folder_without_an_adapter_in_safetensors_is_refused(served: Served, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"pickle")
    with pytest.raises(Refused, match=r"adapter_model\.safetensors"):
        served.client.attach("pickled", tmp_path)


def test_an_adapter_of_another_model_is_refused_and_harms_nobody(
    served: Served, folders: dict[str, Path], tmp_path: Path
) -> None:
    before = whole(served.client.stream_chat("one", CHAT, GREEDY))[0]
    (tmp_path / "adapter_config.json").write_bytes((folders["two"] / "adapter_config.json").read_bytes())
    (tmp_path / "adapter_model.safetensors").write_bytes((folders["two"] / "adapter_model.safetensors").read_bytes())
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    with pytest.raises(Refused, match="does not fit"):
        served.client.attach("misfit", tmp_path)
    health = served.client.health()
    assert health is not None and "misfit" not in health["adapters"]
    assert whole(served.client.stream_chat("one", CHAT, GREEDY))[0] == before


def test_only_its_owner_may_open_the_socket(served: Served) -> None:
    assert stat.S_IMODE(served.socket.stat().st_mode) == 0o600


def test_a_killed_engine_is_one_sentence_and_the_next_one_takes_its_socket(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with engine(folders["base"], tmp_path / "engine.sock") as running:
        stream = running.client.stream_chat("base", CHAT, ENDLESS)
        next(stream)
        running.process.kill()
        with pytest.raises(Unavailable, match="does not answer"):
            list(stream)
        running.process.wait(5)  # httpcore leaves a socket open that breaks in the moment of connecting
        assert not running.client.ready()
        with pytest.raises(Unavailable, match="does not answer"):
            next(running.client.stream_chat("base", CHAT))
    with engine(folders["base"], tmp_path / "engine.sock") as again:
        assert whole(again.client.stream_chat("base", CHAT, GREEDY))[0]
        stream = again.client.stream_chat("base", CHAT, ENDLESS)
        next(stream)
        began = time.monotonic()
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(5) == 0
        assert time.monotonic() - began < 2
        assert not again.socket.exists()
        with contextlib.suppress(Unavailable):
            list(stream)


def test_it_leaves_when_nobody_asks(folders: dict[str, Path], tmp_path: Path) -> None:
    with engine(folders["base"], tmp_path / "engine.sock", TUNESMITH_ENGINE_IDLE_SECONDS="1") as running:
        assert running.process.wait(10) == 0
        assert not running.socket.exists()


def test_it_does_not_begin_without_its_starter(folders: dict[str, Path], tmp_path: Path) -> None:
    environment = {**os.environ, "TUNESMITH_PARENT": "1", "TUNESMITH_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "worker", "engine", str(folders["base"]), str(tmp_path / "engine.sock")]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 1 and b"is gone" in done.stderr


def test_the_socket_of_a_long_data_dir_stands_in_a_short_private_directory(tmp_path: Path) -> None:
    plain = socket_path(Settings(data_dir=tmp_path))
    assert plain == tmp_path / "engine.sock"
    deep = Settings(data_dir=tmp_path / ("d" * 100))
    short = socket_path(deep)
    assert len(os.fsencode(short)) <= 107 and short == socket_path(deep)
    try:
        prepare_socket(short)
        assert stat.S_IMODE(short.parent.stat().st_mode) == 0o700
        short.parent.chmod(0o777)
        with pytest.raises(BootRefused):
            prepare_socket(short)
    finally:
        short.parent.rmdir()
