"""A small Hub on loopback that speaks the real one's HTTP API: lists and info of models and datasets, files, faults."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".parquet", ".arrow", ".gz", ".zst")


@dataclass
class Repo:
    """A model or dataset on the stand-in Hub; its commit is a hash of the files. `readers`: tokens that may read."""

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    licence: str = "apache-2.0"
    readers: tuple[str, ...] = ()
    downloads: int = 0
    parameters: int = 0

    @property
    def commit(self) -> str:
        """40 hexadecimal digits, another for other content."""
        digest = hashlib.sha1(usedforsecurity=False)
        for name, data in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + data)
        return digest.hexdigest()


@dataclass
class Hub:
    """The repos, the faults to come, and what was asked. `fail`: statuses for the next requests; `cut`: bytes kept;
    `redirect`: where files really are; `pause`: seconds between pieces of 64 KB; `hang`: seconds before each
    answer; `sent`: bytes of files that went out.
    """

    repos: dict[str, Repo] = field(default_factory=dict)
    datasets: dict[str, Repo] = field(default_factory=dict)
    redirect: dict[str, str] = field(default_factory=dict)
    pause: float = 0
    hang: float = 0
    sent: int = 0
    fail: list[int] = field(default_factory=list)
    cut: dict[str, list[int]] = field(default_factory=dict)
    flip: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    queries: list[dict[str, list[str]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    address: str = ""

    def asked(self, word: str) -> int:
        """How many requests had `word` in their path."""
        return sum(word in request for request in self.requests)


@contextmanager
def serving(repos: dict[str, Repo]) -> Iterator[Hub]:
    """The Hub, answering at `hub.address` for as long as the block lasts."""
    hub = Hub(repos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    kind = "models"
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer one request, or fail as the test has asked for."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if "authorization" in self.headers:
            self.hub.tokens.append(self.headers["authorization"])
        time.sleep(self.hub.hang)
        if self.hub.fail:
            self._answer(self.hub.fail.pop(0), b"")
            return
        parts = path.strip("/").split("/")
        self.kind = "datasets" if "datasets" in parts[:2] else "models"
        if parts[0] == "datasets":
            parts = parts[1:]
        if parts == ["api", "models"]:
            self._list(parse_qs(urlsplit(self.path).query))
        elif parts[0] == "api" and parts[1] in ("models", "datasets") and len(parts) >= 4:
            self._api("/".join(parts[2:4]), parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._error(404, "RepoNotFound")

    @property
    def _token(self) -> str:
        return (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def _api(self, name: str, rest: list[str]) -> None:
        repo = self._repo(name, rest[1] if len(rest) > 1 else "main")
        if repo is None:
            return
        if rest and rest[0] == "auth-check":
            self._error(403, "GatedRepo") if self._is_closed(repo) else self._json({})
            return
        if rest and rest[0] == "tree":
            self._json([_entry(path, data, "path") for path, data in repo.files.items()])
            return
        tags = ["transformers", f"license:{repo.licence}"]
        siblings = [_entry(path, data, "rfilename") for path, data in repo.files.items()]
        self._json({"id": name, "modelId": name, "sha": repo.commit, "private": repo.private,
                    "gated": "auto" if repo.gated else False, "tags": tags, "siblings": siblings,
                    "downloads": repo.downloads, **_counted(repo)})  # fmt: skip

    def _list(self, query: dict[str, list[str]]) -> None:
        """Models whose id holds the words searched for, with the fields that were asked for, in the order asked for."""
        self.hub.queries.append(query)
        words = query.get("search", [""])[0].lower()
        found = {name: repo for name, repo in self.hub.repos.items() if words in name.lower() and not repo.private}
        if query.get("sort") == ["downloads"]:
            found = dict(sorted(found.items(), key=lambda item: -item[1].downloads))
        named = list(found.items())[: int(query.get("limit", ["1000"])[0])]
        self._json([{"_id": "0", "id": name, "modelId": name, **self._expanded(repo, query["expand"])}
                    for name, repo in named])  # fmt: skip

    def _expanded(self, repo: Repo, wanted: list[str]) -> dict[str, Any]:
        known = {"downloads": repo.downloads, "gated": "manual" if repo.gated else False, "private": repo.private,
                 "tags": ["transformers", f"license:{repo.licence}"], **_counted(repo)}  # fmt: skip
        return {name: known[name] for name in wanted if name in known}

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo = self._repo(name, revision)
        if repo is None:
            return
        if self._is_closed(repo):
            self._error(403 if self._token else 401, "GatedRepo")
        elif path not in repo.files:
            self._error(404, "EntryNotFound")
        elif path in self.hub.redirect:
            self._answer(302, b"", {"Location": self.hub.redirect[path]})
        else:
            self._file(repo, path)

    def _is_closed(self, repo: Repo) -> bool:
        return repo.gated and self._token not in repo.readers

    def _file(self, repo: Repo, path: str) -> None:
        data = repo.files[path]
        first, _, last = (self.headers.get("range") or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), int(last) + 1 if last else len(data)
        sent = data[:-1] + bytes([data[-1] ^ 1]) if path in self.hub.flip else data
        headers = {"ETag": f'"{_etag(path, data)}"', "X-Repo-Commit": repo.commit, "Accept-Ranges": "bytes"}
        if path.endswith(LARGE):
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{_etag(path, data)}"'}
        if start or last:
            headers["Content-Range"] = f"bytes {start}-{min(end, len(data)) - 1}/{len(data)}"
        keep = None
        if self.command == "GET" and self.hub.cut.get(path):
            keep = self.hub.cut[path].pop(0)
        self._answer(206 if start or last else 200, sent[start:end], headers, keep)

    def _repo(self, name: str, revision: str) -> Repo | None:
        repo = (self.hub.datasets if self.kind == "datasets" else self.hub.repos).get(name)
        if self._token == "hf_wrong":
            self._answer(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
            return None
        if repo is None or (repo.private and self._token not in repo.readers):
            self._error(401, "RepoNotFound")  # as the real one answers without a token, so as to betray nothing
            return None
        if revision not in {"main", repo.commit}:
            self._error(404, "RevisionNotFound")
            return None
        return repo

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, keep: int | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self._write(body if keep is None else body[:keep])
        if keep is not None:
            self.close_connection = True

    def _write(self, body: bytes) -> None:
        for place in range(0, len(body), 1 << 16) if self.hub.pause else [0]:
            piece = body[place : place + (1 << 16)] if self.hub.pause else body
            try:
                self.wfile.write(piece)
            except OSError:  # the other side has gone
                return
            self.hub.sent += len(piece)
            time.sleep(self.hub.pause)


def _counted(repo: Repo) -> dict[str, Any]:
    return (
        {"safetensors": {"parameters": {"BF16": repo.parameters}, "total": repo.parameters}} if repo.parameters else {}
    )


def _etag(path: str, data: bytes) -> str:
    if path.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _entry(path: str, data: bytes, key: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        key: path,
        "size": len(data),
        "oid": _etag(path, data),
        "blobId": _etag(path, data),
        "type": "file",
    }
    if path.endswith(LARGE):
        digest = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"size": len(data), "oid": digest, "sha256": digest, "pointerSize": 130}
    return entry
