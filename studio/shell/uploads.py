"""Uploads: Gradio puts them into a private folder of the data dir, our handlers move them out at once.

Nothing is ever served from that folder: the gate shuts Gradio's file routes, and its temporary folder lies in the data
dir, which is on its block list besides. What nobody took is gone after ten minutes.
"""

import os
import shutil
import time
import unicodedata
from pathlib import Path

from studio.core.errors import Refused
from studio.core.settings import Settings

FORGOTTEN_SECONDS = 600
_LONGEST_NAME = 120


def uploads_dir(settings: Settings) -> Path:
    """Where Gradio puts what people upload, until it is taken."""
    return settings.data_dir / "uploads"


def prepare_uploads(settings: Settings) -> Path:
    """Make the folder (only for this user) and point Gradio at it. Call it before a component is made."""
    folder = uploads_dir(settings)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    os.environ["GRADIO_TEMP_DIR"] = str(folder.resolve())
    return folder


def clean_name(name: str) -> str:
    """The base name of a person's file as one printable line of at most 120 characters; never used as a path."""
    text = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    text = "".join(c for c in text if unicodedata.category(c)[0] != "C").strip()
    if len(text) > _LONGEST_NAME:
        stem, dot, ending = text.rpartition(".")
        kept = dot + ending if stem and len(ending) <= 10 else ""
        text = text[: _LONGEST_NAME - len(kept)] + kept
    return text if text.strip(". ") else "upload"


def take_upload(settings: Settings, path: str, destination: Path) -> str:
    """Move an uploaded file to `destination` and return its cleaned original name.

    `path` came through the page, so it may be forged: only a real file inside the upload folder, reached through no
    link, is taken. Raises Refused otherwise.
    """
    folder = uploads_dir(settings).resolve()
    source = Path(path)
    safe = source.is_absolute() and source.resolve() == source and folder in source.parents
    if not safe or not source.is_file():
        raise Refused("This upload is no longer here.", "Choose the file again.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, destination)
    destination.chmod(0o600)
    if source.parent != folder and not any(source.parent.iterdir()):
        source.parent.rmdir()
    return clean_name(source.name)


def sweep_uploads(settings: Settings, older_than: float = FORGOTTEN_SECONDS) -> int:
    """Remove what has lain untouched for `older_than` seconds; returns how many files went."""
    gone, limit = 0, time.time() - older_than
    for path in sorted(uploads_dir(settings).rglob("*"), reverse=True):  # files before their folders
        try:
            if path.lstat().st_mtime > limit:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()  # fails, rightly, while something younger is inside
            else:
                path.unlink()
                gone += 1
        except OSError:  # taken or filled a moment ago
            continue
    return gone
