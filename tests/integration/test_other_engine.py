"""Another server in the engine's place: what it is asked, and what becomes of its answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from studio.core import checkpoints
from studio.core.engine_client import ChatOptions
from studio.core.errors import Conflict, NotFound, Refused, Unavailable
from studio.core.other_engine import OtherEngine
from studio.core.settings import Settings
from studio.core.use_cases.chat import open_engine, open_model

CHAT = [{"role": "user", "content": "Hi"}]


class StandIn(BaseHTTPRequestHandler):
    """Speaks as vLLM does, as far as the studio asks."""

    asked: ClassVar[list[tuple[str, Any]]] = []
    adapters: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        base = {"id": "tiny", "root": "/models/tiny", "parent": None}
        self._json({"data": [base, *({"id": name, "parent": "tiny"} for name in self.adapters)]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        if self.path == "/v1/load_lora_adapter":
            self.adapters.append(body["lora_name"])
            self._json({})
        elif self.path == "/v1/unload_lora_adapter":
            self.adapters.remove(body["lora_name"])
            self._json({})
        elif self.path == "/tokenize":
            self._json({"tokens": [1, 2, 3], "count": 3})
        elif self.path == "/detokenize":
            self._json({"prompt": "<user>Hi"})
        elif body["model"] not in ("tiny", *self.adapters):
            self._json({"error": {"message": "The model does not exist.", "type": "NotFoundError"}}, 404)
        else:
            self._stream(["He", "llo"])

    def _stream(self, words: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        choices = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in words]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
        events.append({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
        for one in events:
            self.wfile.write(f"data: {json.dumps(one)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def _json(self, told: Any, status: int = 200) -> None:
        data = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    """A stand-in server of its own."""
    StandIn.asked, StandIn.adapters = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder with what looks like an adapter."""
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    return tmp_path


def test_base_and_adapter_answer_through_the_setting(url: str, adapter: Path, tmp_path: Path) -> None:
    services: Any = SimpleNamespace(settings=Settings(data_dir=tmp_path, engine_url=url + "/v1"))
    client = open_engine(services, "someone/Tiny", "main")
    for _ in range(2):
        client.attach("run1@40", adapter)
    assert [path for path, _ in StandIn.asked] == ["/v1/load_lora_adapter"]
    assert client.health() == {"ready": True, "base": "tiny", "adapters": ["run1@40"]}
    told = list(client.stream_both([("base", CHAT), ("run1@40", CHAT)], ChatOptions(temperature=0, top_k=4)))
    for column in (0, 1):
        pieces = [piece for at, piece in told if at == column]
        assert "".join(piece.text for piece in pieces) == "Hello"
        assert pieces[-1].done and pieces[-1].finish == "stop" and pieces[-1].usage["completion_tokens"] == 2
        assert pieces[-1].timings.first_token_s is not None
    chats = [body for path, body in StandIn.asked if path == "/v1/chat/completions"]
    assert {body["model"] for body in chats} == {"tiny", "run1@40"}
    assert all(body["top_k"] == 4 and "columns" not in body and "num_beams" not in body for body in chats)
    client.detach("run1@40")
    with pytest.raises(NotFound, match="does not exist"):
        list(client.stream_chat("run1@40", CHAT))


def stand_in_services(url: str, root: Path) -> Any:
    """Two runs of one base and one of another, each with an adapter; the first has a checkpoint of step 40."""
    runs = {
        name: SimpleNamespace(
            id=name, base_repo=base, base_revision="main", config={"base": bits}, spec=None, owner="me"
        )
        for name, base, bits in (
            ("run1", "someone/tiny", {}),
            ("run2", "someone/other", {}),
            ("run3", "someone/tiny", {"quantization": "nf4"}),
        )
    }
    for name in runs:
        for part in ("adapter", "checkpoints/checkpoint-40"):
            folder = root / name / part
            folder.mkdir(parents=True)
            (folder / "adapter_model.safetensors").write_bytes(b"weights")
    checkpoints.seal(root / "run1/checkpoints/checkpoint-40", 40, 1, "spec")

    def get(run_id: str, owner: str) -> Any:
        if run_id not in runs or owner != "me":
            raise NotFound("There is no such run.")
        return runs[run_id]

    return SimpleNamespace(
        settings=Settings(data_dir=root, engine_url=url),
        runs=SimpleNamespace(get=get),
        artifacts=SimpleNamespace(
            adapter_dir=lambda run_id: root / run_id / "adapter",
            checkpoints_dir=lambda run_id: root / run_id / "checkpoints",
        ),
    )


def test_base_adapter_and_checkpoint_are_opened_together(url: str, tmp_path: Path) -> None:
    services = stand_in_services(url, tmp_path)
    open_model(services, "me", ["base", "run1", "run1@40", "run1"])
    loaded = [(body["lora_name"], Path(body["lora_path"])) for _, body in StandIn.asked]
    assert loaded == [
        ("run1", tmp_path / "run1/adapter"),
        ("run1@40", tmp_path / "run1/checkpoints/checkpoint-40"),
    ]


def test_what_can_not_be_opened_is_said(url: str, tmp_path: Path) -> None:
    services = stand_in_services(url, tmp_path)
    for names, kind, words in (
        (["run1", "run2"], Conflict, "different base models"),
        (["run1", "run3"], Conflict, "different precisions"),
        (["run1@41"], NotFound, "no longer there"),
        (["run1@../x"], NotFound, "no checkpoint"),
        (["nobody"], NotFound, "no such run"),
        (["run3@40"], NotFound, "no longer there"),
    ):
        with pytest.raises(kind, match=words):
            open_model(services, "me", names)
    (tmp_path / "run1/checkpoints/checkpoint-40/adapter_model.safetensors").write_bytes(b"w3ights")
    with pytest.raises(NotFound, match="no longer there"):
        open_model(services, "me", ["run1@40"])
    assert StandIn.asked == []


def test_the_prompt_is_read_back_with_its_hash(url: str) -> None:
    prompt = OtherEngine(url).prompt("base", CHAT)
    assert (prompt["text"], prompt["tokens"], len(prompt["prompt_hash"])) == ("<user>Hi", 3, 64)


def test_what_it_does_not_serve_is_refused_in_a_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="has the base model tiny"):
        OtherEngine(url).checked("someone/Large")
    with pytest.raises(Refused, match="no beam search"):
        list(OtherEngine(url).stream_chat("base", CHAT, ChatOptions(num_beams=3)))
    with pytest.raises(Refused, match="takes adapters only"):
        OtherEngine(url).attach("whole", tmp_path)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    gone = OtherEngine("http://127.0.0.1:9")
    assert gone.health() is None
    with pytest.raises(Unavailable, match="does not answer"):
        gone.checked("someone/Tiny")
