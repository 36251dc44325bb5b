"""All named failpoints, read from the sources, so that none can be forgotten."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_POINT = re.compile(r'\bfailpoint\(\s*"([a-z_.]+)"')
_WRITE = re.compile(r'\.write\(\s*"([a-z_.]+)"')
_PEN = re.compile(r'self\._write\(\s*"([a-z_.]+)"')


def all_points() -> list[str]:
    """Every point: the named places, and two for each named write of the records."""
    return sorted({point for points in by_file().values() for point in points})


def by_file() -> dict[str, list[str]]:
    """The points of each source file, with repetitions."""
    found: dict[str, list[str]] = {}
    for part in ("studio", "worker"):
        for path in sorted((ROOT / part).rglob("*.py")):
            text = path.read_text()
            writes = _WRITE.findall(text) + [f"attempt.{name}" for name in _PEN.findall(text)]
            points = _POINT.findall(text) + [f"{name}.{end}" for name in writes for end in ("commit", "committed")]
            if points:
                found[str(path.relative_to(ROOT))] = points
    return found
