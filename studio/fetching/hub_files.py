"""A dataset's list of files on the Hub, parts of files, and whole files with their sizes and hashes checked."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from studio.core.errors import Refused
from studio.core.hub import HubUnreachable, Subject, endpoint, gated, patiently

# After `studio.core.hub`, which sets how huggingface_hub behaves.
from huggingface_hub import HfApi  # isort: skip
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # isort: skip

CARD, MORE = "README.md", ".huggingface.yaml"
_CARD_BYTES = 5_000_000
_MOST_FILES = 50_000
_HOPS = 5
_TIMEOUT, _ASK_TIMEOUT = 30.0, 10.0

Progress = Callable[[float, str], None]


class HubFiles:
    """One request about one dataset. `do`: `list` (what there is), `ranges` (parts of a file), `whole` (files)."""

    def __init__(self, request: dict[str, Any], progress: Progress) -> None:
        """`request`: do, repo, revision, token (or None), pauses (seconds between tries), out, and what `do` needs."""
        self.request, self.progress = request, progress
        self.subject = Subject(request["repo"], request["revision"], "dataset")
        self.pauses = tuple(float(pause) for pause in request["pauses"])
        self.headers = build_hf_headers(token=request["token"] or False)
        self.out = Path(request["out"])

    def answer(self) -> dict[str, Any]:
        """Do it. Raises `StudioError`."""
        doing: dict[str, Callable[[], dict[str, Any]]] = {
            "list": self.list_files, "ranges": self.fetch_ranges, "whole": self.fetch_whole
        }  # fmt: skip
        return doing[self.request["do"]]()

    def list_files(self) -> dict[str, Any]:
        """Commit, licence and files with sizes; names and card go to the file `out` as well, for the sandbox."""
        found = patiently(self._info, self.subject, self.pauses)
        self.subject = Subject(found["repo"], found["commit"], "dataset")
        texts = {name: self._text(name) for name in (CARD, MORE) if name in found["files"]}
        listing = {"files": list(found["files"]), "card": texts.get(CARD, ""), "more": texts.get(MORE, "")}
        self.out.write_text(json.dumps(listing))
        return found

    def _info(self) -> dict[str, Any]:
        repo, token = self.subject.repo, self.request["token"] or False
        api = HfApi(endpoint=endpoint(), token=token)
        info = api.dataset_info(repo, revision=self.subject.revision, files_metadata=True, timeout=_ASK_TIMEOUT)
        if info.gated:
            if not token:
                raise gated(self.subject)
            api.auth_check(repo, repo_type="dataset")
        if not re.fullmatch(r"[0-9a-f]{40}", str(info.sha)):
            raise HubUnreachable("The Hub does not say which version this dataset is.", "Try again in a minute.")
        siblings = info.siblings or []
        if len(siblings) > _MOST_FILES:
            raise Refused(
                f"The dataset {repo!r} has {len(siblings):,} files; {_MOST_FILES:,} is the limit.",
                "Choose another dataset.", field="repo",
            )  # fmt: skip
        licence = [tag.partition(":")[2] for tag in info.tags or [] if tag.startswith("license:")]
        return {
            "repo": info.id or repo,
            "commit": info.sha,
            "gated": bool(info.gated),
            "private": bool(info.private),
            "licence": ", ".join(licence),
            "files": {
                one.rfilename: {"size": one.size or 0, "sha256": one.lfs.sha256 if one.lfs else "",
                                "oid": "" if one.lfs else one.blob_id or ""}
                for one in siblings
            },
        }  # fmt: skip

    def _text(self, path: str) -> str:
        """A small text beside the data, cut at 5 MB."""

        def once() -> str:
            with self._opened(path) as (_, pieces):
                text = b""
                for piece in pieces:
                    text += piece
                    if len(text) > _CARD_BYTES:
                        break
                return text[:_CARD_BYTES].decode(errors="replace")

        return patiently(once, self.subject, self.pauses)

    def fetch_ranges(self) -> dict[str, Any]:
        """The byte ranges `ranges` ([start, end) each) of the file `path`, into their places in `out`."""
        for start, end in self.request["ranges"]:
            patiently(lambda start=start, end=end: self._range(start, end), self.subject, self.pauses)  # type: ignore[misc]
        return {}

    def _range(self, start: int, end: int) -> None:
        with self._opened(self.request["path"], start, end) as (first, pieces), self.out.open("r+b") as out:
            place = first
            for piece in pieces:
                wanted = piece[max(0, start - place) : max(0, end - place)]
                out.seek(max(start, place))
                out.write(wanted)
                place += len(piece)
                if place >= end:
                    return
        raise HubUnreachable("The Hub sent less of a file than was asked for.", "Try again.")

    def fetch_whole(self) -> dict[str, Any]:
        """All of `files` (`path`, `size`, `sha256` or `oid`, `file`) into the folder `out`, each under its `file`."""
        files = self.request["files"]
        total, before = sum(one["size"] for one in files), 0
        for one in files:
            self._one(one, before, total)
            before += one["size"]
        return {"bytes": before}

    def _one(self, one: dict[str, Any], before: int, total: int) -> None:
        """One file; a transfer that got further may always be taken up again, one that did not only a few times."""
        target, tries, farthest = self.out / one["file"], 0, 0
        target.touch()
        while True:
            try:
                patiently(lambda: self._go_on(one, target, before, total), self.subject, ())
                return
            except HubUnreachable:
                tries = 0 if target.stat().st_size > farthest else tries + 1
                farthest = max(farthest, target.stat().st_size)
                if tries > len(self.pauses):
                    raise
                time.sleep(self.pauses[max(tries, 1) - 1] if self.pauses else 0)

    def _go_on(self, one: dict[str, Any], target: Path, before: int, total: int) -> None:
        place = target.stat().st_size
        if place < one["size"]:
            with self._opened(one["path"], place) as (first, pieces), target.open("r+b") as out:
                out.seek(first)  # 0 where the Hub starts again
                out.truncate()
                place = first
                for piece in pieces:
                    place += len(piece)
                    if place > one["size"]:
                        break
                    out.write(piece)
                    done = before + place
                    words = f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB from the Hub"
                    self.progress(done / max(1, total), words)
        if place < one["size"]:
            raise HubUnreachable("The Hub ended a file before its end.", "Try again.")
        if place > one["size"] or not _is_right(target, one):
            target.write_bytes(b"")
            name = one["path"].rpartition("/")[2]
            raise HubUnreachable(f"The file {name!r} of {self.subject.repo!r} arrived damaged.", "Try again.")

    @contextmanager
    def _opened(self, path: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Where the answer begins in the file, and its bytes. The token goes to the Hub and to nobody it points to."""
        repo, revision = quote(self.subject.repo), quote(self.subject.revision, safe="")
        url = f"{endpoint()}/datasets/{repo}/resolve/{revision}/{quote(path)}"
        headers = {**self.headers, "accept-encoding": "identity"}
        if start or end is not None:
            headers["range"] = f"bytes={start}-{end - 1 if end is not None else ''}"
        session = get_session()
        for _ in range(_HOPS):
            response = session.send(
                session.build_request("GET", url, headers=headers, timeout=_TIMEOUT),
                stream=True, follow_redirects=False,
            )  # fmt: skip
            try:
                if response.is_redirect:
                    onward = str(response.next_request.url) if response.next_request else ""
                    if _origin(onward) != _origin(url):
                        headers.pop("authorization", None)
                    url = _allowed(onward)
                    continue
                hf_raise_for_status(response)
                first = _begins(response.status_code, response.headers.get("content-range", ""))
                yield first, response.iter_bytes()
                return
            finally:
                response.close()
        raise HubUnreachable("The Hub sends from one address to the next without end.", "Try again in a minute.")


def _begins(status: int, content_range: str) -> int:
    found = re.match(r"bytes (\d+)-", content_range)
    return int(found[1]) if status == 206 and found else 0


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _allowed(url: str) -> str:
    """`url`, where the Hub may send us: its own address, or a named host by https; never a bare number."""
    host = urlsplit(url).hostname or ""
    named = "." in host and re.search(r"[a-z]$", host) and not host.endswith((".local", ".internal", ".localhost"))
    if _origin(url) == _origin(endpoint()) or (url.startswith("https://") and named):
        return url
    raise Refused("The Hub sends to an address that the studio does not follow.", "Choose another dataset.")


def _is_right(path: Path, one: dict[str, Any]) -> bool:
    """Whether the file has the hash that the Hub told: sha256 of large files, git's own of small ones."""
    with path.open("rb") as source:
        if one["sha256"]:
            return hashlib.file_digest(source, "sha256").hexdigest() == one["sha256"]
        if not one["oid"]:
            return True
        digest = hashlib.sha1(b"blob %d\0" % one["size"], usedforsecurity=False)
        while piece := source.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest() == one["oid"]
