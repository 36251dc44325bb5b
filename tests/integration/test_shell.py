"""What stands before every page: hosts, origins, headers, uploads, downloads, start and end of the web process."""

import io
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from studio.app import build_app
from studio.core.errors import NotFound, Refused
from studio.core.settings import Settings
from studio.shell.downloads import Located, RunFiles, adapter_files, disposition
from studio.shell.gate import host_name
from studio.shell.headers import html_component

RUN, OTHER = "abcdefghijk2", "abcdefghijk3"
HOST = {"Host": "127.0.0.1:7860"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("data"), allowed_hosts="studio.example, gpu-box")


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    runs = settings.data_dir / "runs"
    adapter = runs / RUN / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_model.safetensors").write_bytes(os.urandom(3_000_000))
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / ".hidden").write_text("x")
    (adapter / "link.json").symlink_to("/etc/hostname")
    (adapter / "checkpoints").mkdir()
    (runs / RUN / "train.log").write_text("step 1\n")
    (runs / OTHER).mkdir()
    (runs / OTHER / "train.log").symlink_to("/etc/hostname")

    def mine(owner: str, run_id: str, name: str) -> Located:
        if owner != "local" or run_id not in {RUN, OTHER}:
            raise NotFound("No such run.", "Open it from the list.")
        return Located(runs / run_id / name, 'orders "é"/../<x>\r\nA: b')

    files = RunFiles(
        lambda owner, run: mine(owner, run, "adapter"),
        lambda owner, run: mine(owner, run, "train.log"),
        lambda request: request.headers.get("x-test-owner", "local"),
    )
    made = build_app(settings, None, files=files)

    async def broken() -> None:
        raise RuntimeError("secret /etc/path")

    async def refused() -> None:
        raise Refused("Row 12 has no answer.", "Fill it in.")

    for path, route in (("/broken", broken), ("/refused", refused)):
        made.add_api_route(path, route)
        made.router.routes.insert(0, made.router.routes.pop())
    return made


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, base_url="http://127.0.0.1:7860") as client:
        yield client


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:7860", "LOCALHOST", "[::1]:7860", "studio.example", "gpu-box:80", "gpu-box."]
)
def test_the_studio_answers_to_its_names_on_any_port(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).json()["ok"] is True


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost@evil", "localhost:x", "", "a b", "[::1", "localhost/x"],
)
def test_a_foreign_or_malformed_host_gets_400_and_a_sentence(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400 and answer.json()["problem"].endswith(".")
    assert "evil" not in answer.text


def test_the_name_is_read_from_a_host_header_without_its_port() -> None:
    assert [host_name(h) for h in ("A.b:1", "[::1]:2", "x:y", "u@h")] == ["a.b", "[::1]", "", ""]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:7860"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "file://127.0.0.1:7860"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "INVENTED"])
def test_what_comes_from_another_site_gets_403(client: TestClient, method: str, headers: dict[str, str]) -> None:
    assert client.request(method, "/gradio_api/queue/join", headers={**HOST, **headers}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
)
def test_own_requests_and_those_of_programs_pass(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/gradio_api/queue/join", json={}, headers={**HOST, **headers})
    assert answer.status_code not in {400, 403, 404}


def test_a_socket_from_another_site_is_closed_before_it_opens(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/x", headers={"Origin": "http://evil.example"}):
        pass


def test_no_other_origin_is_let_in_by_gradio(client: TestClient) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST", "Host": "studio.example"}
    for answer in (client.options("/gradio_api/queue/join", headers=asked), client.get("/config", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/", "127.0.0.1"),
        ("/healthz", "127.0.0.1"),
        ("/theme.css", "127.0.0.1"),
        ("/static/js/iframeResizer.contentWindow.min.js", "127.0.0.1"),
        ("/favicon.ico", "127.0.0.1"),
        ("/manifest.json", "127.0.0.1"),
        ("/nowhere", "127.0.0.1"),
        ("/logout", "127.0.0.1"),
        ("/broken", "127.0.0.1"),
        ("/refused", "127.0.0.1"),
        ("/", "evil.example"),
        (f"/download/log/{RUN}", "127.0.0.1"),
        (f"/download/log/{OTHER}", "127.0.0.1"),
    ],
)
def test_every_answer_carries_the_headers(client: TestClient, path: str, host: str) -> None:
    headers = client.get(path, headers={"Host": host}).headers
    csp = headers["content-security-policy"]
    assert "default-src 'self'" in csp and "object-src 'none'" in csp and "frame-ancestors 'none'" in csp
    assert "unsafe-eval" not in csp and "script-src 'self' 'unsafe-inline'" not in csp and "http" not in csp
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin" and "camera=()" in headers["permissions-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"


def test_a_page_has_a_fresh_nonce_on_every_script_and_names_no_other_host(client: TestClient) -> None:
    answers = [client.get("/", headers={"Accept": "text/html", "Accept-Encoding": "br, gzip"}) for _ in range(2)]
    nonces = []
    for answer in answers:
        (nonce,) = re.findall(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
        tags = re.findall(r"<script[^>]*>", answer.text)
        assert tags and all(f'nonce="{nonce}"' in tag for tag in tags)
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert not re.findall(r'<(?:script|link|meta|img)[^>]*"(?:https?:)?//', answer.text)
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


def test_a_head_request_for_a_page_answers_without_a_body(client: TestClient) -> None:
    answer = client.head("/")
    assert answer.status_code == 200 and answer.content == b""


def test_gradios_html_component_is_served_without_its_evaluation(client: TestClient) -> None:
    found = html_component()
    assert found is not None, "this Gradio has another HTML component: look at studio/shell/headers.py"
    assert client.get(f"/assets/{found[0]}").text == found[1]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/hostname",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/file/etc/hostname",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/%66ile=/etc/hostname",
        "//gradio_api/file=/etc/hostname",
        "/gradio_api/../gradio_api/file=/etc/hostname",
        "/gradio_api/openapi.json",
        "/gradio_api/deep_link",
        "/gradio_api/dev/reload",
        "/gradio_api/runs",
        "/gradio_api/token",
        "/gradio_api/vibe-code",
        "/gradio_api/stream/a/b/c/playlist.m3u8",
        "/gradio_api/custom_component/a/b/c/d",
        "/monitoring",
        "/monitoring/summary",
        "/login",
        "/logout",
        "/docs",
        "/openapi.json",
    ],
)
def test_gradios_other_doors_are_shut(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=HOST, follow_redirects=False)
    assert answer.status_code == 404 and "hostname" not in answer.text


def test_what_breaks_answers_with_a_short_id_and_nothing_of_the_inside(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/broken")
    assert answer.status_code == 500 and "secret" not in answer.text and "Traceback" not in answer.text
    (number,) = re.findall(r"under ([0-9a-f]{8})\.", answer.json()["remedy"])
    assert number in caplog.text and "RuntimeError: secret" in caplog.text


def test_a_studio_error_answers_with_its_status_and_sentences(client: TestClient) -> None:
    answer = client.get("/refused")
    assert answer.status_code == 422
    assert answer.json() == {"problem": "Row 12 has no answer.", "remedy": "Fill it in."}


def test_an_adapter_leaves_as_a_zip_of_its_plain_files(client: TestClient, settings: Settings) -> None:
    answer = client.get(f"/download/adapter/{RUN}")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["adapter_config.json", "adapter_model.safetensors"]
        weights = settings.data_dir / "runs" / RUN / "adapter" / "adapter_model.safetensors"
        assert archive.read("adapter_model.safetensors") == weights.read_bytes()
    named = answer.headers["content-disposition"]
    assert named.startswith('attachment; filename="orders-..-x-A-b-adapter.zip"') and "\r" not in named


def test_a_model_that_was_trained_whole_leaves_too(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in adapter_files(tmp_path)] == ["config.json", "model.safetensors"]
    (tmp_path / "config.json").unlink()
    with pytest.raises(NotFound):
        adapter_files(tmp_path)


def test_a_file_name_of_any_text_is_one_safe_header() -> None:
    for name in ("", "../..", "\x00\n", "名前", "a" * 400, '";x="', "-rf"):
        named = disposition(name, ".log")
        named.encode("ascii")
        assert "\n" not in named and "/" not in named and named.count('"') == 2 and len(named) < 1000


def test_a_log_leaves_as_text(client: TestClient) -> None:
    answer = client.get(f"/download/log/{RUN}")
    assert answer.text == "step 1\n" and answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (f"/download/log/{OTHER}", "local"),  # a link to a file elsewhere
        (f"/download/adapter/{OTHER}", "local"),
        (f"/download/adapter/{RUN}", "somebody"),
        ("/download/log/zzzzzzzzzzzz", "local"),
        ("/download/log/..%2f..%2fx", "local"),
        ("/download/log/x", "local"),
        ("/download/other/x", "local"),
    ],
)
def test_what_is_not_there_or_not_ones_own_is_404(client: TestClient, path: str, owner: str) -> None:
    assert client.get(path, headers={"X-Test-Owner": owner}).status_code == 404
