"""Where the files that ship with the program are: in the wheel inside `studio`, in a checkout beside it."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def asset(name: str) -> Path:
    """The path of a shipped file or folder, named as below `assets`. Raises FileNotFoundError if it is missing."""
    for folder in (_PACKAGE / "assets", _PACKAGE.parent / "assets"):
        if (path := folder / name).exists():
            return path
    raise FileNotFoundError(f"The installation lacks the asset {name}.")
