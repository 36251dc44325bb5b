"""`tunesmith data check`, as a person or a script calls it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studio.core.settings import Settings
from studio.data_check import Check, check, described
from tests.integration.shapes import SHAPES, make_family, write_shape

KEYS = {"container", "format", "encoding", "read", "kept", "dropped", "columns", "mapping", "findings", "tokens",
        "error"}  # fmt: skip


def run(*words: str | Path) -> tuple[dict[str, Any], int]:
    """The command's JSON and its exit code."""
    command = [sys.executable, "-W", "ignore", "-m", "studio", "data", "check", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout), done.returncode


def look(settings: Settings, path: Path, text: str | bytes, **asked: Any) -> tuple[dict[str, Any], int]:
    """The report on a file with this content, and the exit code."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    report, code = check(settings, Check(path, **asked))
    assert report.keys() >= KEYS and described(report)
    if report["read"]:
        assert report["read"] == report["kept"] + len(report["dropped"])
    return report, code


def test_the_command_prints_one_object_whatever_comes(tmp_path: Path) -> None:
    good = write_shape(tmp_path, "prompt_completion")
    report, code = run(good)
    assert (code, report["format"], report["read"], report["kept"], report["error"]) == (
        0,
        "prompt_completion",
        2,
        2,
        None,
    )
    report, code = run(tmp_path / "gone.csv")
    assert code == 2 and report["error"]["problem"].startswith("There is no file") and report["container"] == "csv"
    report, code = run(good, "--map", "prompt=nothing")
    assert code == 2 and "There is no column called 'nothing'" in report["error"]["problem"]
    assert report["columns"] == ["prompt", "completion"] and report["error"]["remedy"]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_recognised_and_clean(settings: Settings, tmp_path: Path, shape: str) -> None:
    report, code = check(settings, Check(write_shape(tmp_path, shape)))
    assert (report["format"], report["container"], report["kept"]) == (shape, "jsonl", len(SHAPES[shape]))
    assert (code, report["findings"], report["dropped"]) == (0, [], [])


def test_rows_are_counted_as_they_stand_in_the_file(settings: Settings, tmp_path: Path) -> None:
    lines = '{"prompt": "Where to?", "completion": "Home again"}\n\n{"prompt": "x", "completion": 3\n{"prompt": "y"}\n'
    report, code = look(settings, tmp_path / "x.jsonl", lines)
    assert (code, report["read"], report["kept"]) == (1, 3, 1)
    assert [one["row"] for one in report["dropped"]] == [3, 4]
    assert report["dropped"][0]["reason"] == "Line 3 is not JSON."
    report, code = look(settings, tmp_path / "x.csv", "prompt,completion\nWhere to?,Home\n,none\nWho?,Me\n")
    assert [one["row"] for one in report["dropped"]] == [2] and code == 1
    report, code = look(settings, tmp_path / "x.json", '[{"prompt": "Who?", "completion": "Me"}, {"prompt": "Why?"}]')
    assert [one["row"] for one in report["dropped"]] == [2] and report["container"] == "json"


def test_a_guess_is_a_finding_and_a_mapping_takes_it_away(settings: Settings, tmp_path: Path) -> None:
    text = "Spalte A;Spalte B\nWie geht es dir?;Mir geht es gut\nWas ist das?;Das ist ein Apfel\n"
    report, code = look(settings, tmp_path / "x.csv", text)
    assert code == 1 and [finding["kind"] for finding in report["findings"]] == ["guessed_mapping"]
    assert report["mapping"] == {"prompt": "Spalte A", "completion": "Spalte B"}
    chosen = {"prompt": " spalte b", "completion": "SPALTE A "}
    report, code = look(settings, tmp_path / "x.csv", text, mapping=chosen)
    assert (code, report["mapping"]) == (0, {"prompt": "Spalte B", "completion": "Spalte A"})


def test_nothing_kept_is_refused_with_all_its_numbers(settings: Settings, tmp_path: Path) -> None:
    report, code = look(settings, tmp_path / "x.csv", "prompt,completion\n" + ",\n" * 20)
    assert (code, report["read"], report["kept"], len(report["dropped"])) == (2, 20, 0, 20)
    assert report["error"]["problem"] == "0 of 20 rows have text in prompt and completion."
    report, code = look(settings, tmp_path / "y.csv", "")
    assert code == 2 and report["error"]["problem"] == "This file is empty."


def test_duplicates_are_findings_and_no_drops(settings: Settings, tmp_path: Path) -> None:
    lines = '{"prompt": "Where do we go?", "completion": "We go home now"}\n' * 3
    report, code = look(settings, tmp_path / "x.jsonl", lines)
    assert (code, report["kept"]) == (1, 3)
    assert [(f["kind"], f["count"], f["rows"]) for f in report["findings"]] == [("duplicate", 2, [2, 3])]


def test_a_model_counts_tokens_and_says_what_does_not_fit(settings: Settings, tmp_path: Path) -> None:
    model = make_family(tmp_path / "model", "chatml")
    pairs = [("Where do we go?", "We go home now. " * n) for n in (1, 2, 60)]
    lines = "".join(json.dumps({"prompt": asked, "completion": said}) + "\n" for asked, said in pairs)
    report, code = look(settings, tmp_path / "x.jsonl", lines, model=str(model), max_length=100)
    assert code == 1 and report["tokens"]["counted"] == 3 and report["tokens"]["cut"] == 1
    found = {finding["kind"]: (finding["count"], finding["rows"]) for finding in report["findings"]}
    assert found["too_long"] == (1, [3]) and found["no_end_of_turn"] == (1, [3])
    assert report["tokens"]["learnt"] < report["tokens"]["tokens"] <= report["tokens"]["longest"] * 3
    shutil.rmtree(model)
    report, code = look(settings, tmp_path / "x.jsonl", lines, model=str(model))
    assert code == 2 and report["kept"] == 3 and "no folder of this name" in report["error"]["problem"]
