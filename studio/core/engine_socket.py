"""Where the playground's process listens: the one rule that the worker and the web process share."""

import hashlib
import os
import stat
from pathlib import Path

from studio.core.errors import BootRefused
from studio.core.settings import Settings

LONGEST = 107
"""Bytes that the kernel has for a socket's path."""


def socket_path(settings: Settings) -> Path:
    """The socket's path: in the data dir, or below /tmp in a private directory where that path is too long to bind.

    /tmp and not TMPDIR: both processes must come to the same answer, whatever their environments.
    """
    data_dir = settings.data_dir.absolute()
    plain = data_dir / "engine.sock"
    if len(os.fsencode(plain)) <= LONGEST:
        return plain
    mark = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path("/tmp") / f"tunesmith-{os.getuid()}-{mark}" / "engine.sock"  # noqa: S108 (checked below)


def prepare_socket(path: Path) -> Path:
    """Make the socket's directory private where it is ours to make, and remove a stale socket; gives `path`.

    Raises BootRefused where the path is too long, or its directory below /tmp belongs to somebody else.
    """
    if len(os.fsencode(path)) > LONGEST:
        raise BootRefused(f"A socket's path holds {LONGEST} bytes.", "Take a shorter one.")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = path.parent.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise BootRefused("The directory for the playground's socket belongs to somebody else.", "Remove it from /tmp.")
    if facts.st_mode & 0o022:
        raise BootRefused("Others may write to the directory of the playground's socket.", "Set its mode to 0700.")
    path.unlink(missing_ok=True)
    return path
