"""The house rules that no linter knows: ceilings, README's truth, what a process may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from studio.cli import app, data
from studio.core.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for part in ("studio", "worker", "tests") for path in (ROOT / part).rglob("*.py"))
README = (ROOT / "README.md").read_text()
FILE_LINES, FUNCTION_LINES = 350, 80


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES, node.name


def test_the_readme_lists_every_setting_with_its_words_and_nothing_else() -> None:
    table = dict(re.findall(r"^\| `(TUNESMITH_\w+)` \| [^|]* \| ([^|]*) \|$", README, re.MULTILINE))
    fields = {f"TUNESMITH_{name.upper()}": field.description for name, field in Settings.model_fields.items()}
    assert {name: words.strip() for name, words in table.items()} == fields


def test_the_readme_lists_every_command_and_nothing_else() -> None:
    listed = set(re.findall(r"^\| `tunesmith ((?:data )?\w+)", README, re.MULTILINE))
    ours = {command.callback.__name__ for command in app.registered_commands if command.callback}
    assert listed == ours | {f"data {command.name}" for command in data.registered_commands}


def test_the_readme_tree_names_every_folder_and_top_file_that_is_there() -> None:
    tree = README.partition("<!-- tree -->")[2].partition("```\n")[2].partition("```")[0]
    named = set(re.findall(r"[\w./-]+", tree))
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    files = [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()]
    folders = {f"{path.parts[0]}/" for path in files if len(path.parts) > 1}
    folders |= {f"{part}/" for path in files for part in path.parts[1:-1] if path.parts[0] in ("studio", "worker")}
    tops = {path.name for path in files if len(path.parts) == 1}
    assert sorted((folders | tops) - named) == []


def test_every_public_function_and_class_says_what_it_is() -> None:
    silent = []
    for path in SOURCES:
        if path.is_relative_to(ROOT / "tests"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if named and not node.name.startswith("_") and not _is_nested(path, node) and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert silent == []


def _is_nested(path: Path, wanted: ast.AST) -> bool:
    """Whether the definition stands inside a function, where nobody outside can call it."""
    functions = [
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lines = [(n.lineno, n.end_lineno or 0) for n in functions]
    return any(first < wanted.lineno <= last for first, last in lines)  # type: ignore[attr-defined]


def test_the_web_process_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; import studio.app, studio.web, studio.cli, studio.up, studio.demo, studio.doctor; "
        "print([name for name in ('torch', 'transformers', 'trl', 'peft', 'worker') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_no_source_names_a_path_of_this_machine() -> None:
    for path in [*SOURCES, ROOT / "README.md", ROOT / "pyproject.toml", ROOT / "Dockerfile"]:
        assert str(ROOT.parent) + "/" not in path.read_text(), path
