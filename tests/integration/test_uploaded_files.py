"""Rows of the hardening list under "Files people upload" that go through the whole reading: the sentence of each."""

import json
import logging
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core.errors import Refused
from studio.core.reader import ask
from studio.core.settings import Settings
from tests.waiting import wait_until

PAIR = {"prompt": "question", "completion": "answer"}


def bring(
    tmp_path: Path, settings: Settings, content: str | bytes, name: str, mapping: dict[str, str] | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Import a file of this content: the report, and the rows that were kept."""
    path, out = tmp_path / "original", tmp_path / "out"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    request = {"do": "import", "source": str(path), "name": name, "mapping": mapping or PAIR, "out": str(out)}
    return ask(request, settings), pq.read_table(out / "data.parquet").to_pylist()


def finding(report: dict[str, Any], kind: str) -> dict[str, Any]:
    """The one finding of a kind."""
    return next(one for one in report["findings"] if one["kind"] == kind)


def test_numbers_among_texts_are_kept_as_text_and_named_with_their_rows(tmp_path: Path, settings: Settings) -> None:
    rows = [{"question": f"What is it, {word}?", "answer": word} for word in ("one apple", "two pears")]
    rows += [{"question": "How many?", "answer": 12.50}, {"question": "Really?", "answer": True}]
    report, kept = bring(tmp_path, settings, "".join(json.dumps(row) + "\n" for row in rows), "mixed.jsonl")
    found = finding(report, "mixed_types")
    assert (found["count"], found["rows"], found["facts"]["column"]) == (2, [3, 4], "answer")
    assert json.loads(kept[2]["messages"])[1]["content"] == "12.5" and report["kept"] == 4


def test_formulas_stay_text(tmp_path: Path, settings: Settings) -> None:
    text = 'question,answer\n"=HYPERLINK(""http://x"",""y"")",=1+1\n@SUM(A1),+2\n'
    _, kept = bring(tmp_path, settings, text, "sheet.csv")
    assert json.loads(kept[0]["messages"])[0]["content"] == '=HYPERLINK("http://x","y")'
    assert json.loads(kept[1]["messages"])[1]["content"] == "+2"


def test_a_column_of_images_is_refused_at_mapping_with_its_name(tmp_path: Path, settings: Settings) -> None:
    table = pa.table({"image": [{"bytes": b"\x89PNG", "path": "a.png"}] * 3, "caption": ["a cat", "a dog", "a bird"]})
    pq.write_table(table, tmp_path / "images.parquet")
    content = (tmp_path / "images.parquet").read_bytes()
    with pytest.raises(Refused, match=r"Column 'image' holds images; choose a text column\.") as caught:
        bring(tmp_path, settings, content, "images.parquet", {"text": "image"})
    assert caught.value.field == "text"
    report, _ = bring(tmp_path, settings, content, "images.parquet", {"text": "caption"})
    assert report["kept"] == 3 and report["odd"] == {"image": "holds images"}


def test_secrets_are_counted_and_stand_neither_in_the_report_nor_in_the_log(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "sk-" + "a1B2c3D4e5F6g7H8i9J0" * 2
    rows = [("Which key do we use?", f"We use {key} for that."), ("Who writes?", "It is anna.berg@firma.de again.")]
    text = "question,answer\n" + "".join(f"{asked},{said}\n" for asked, said in rows)
    report, _ = bring(tmp_path, settings, text, "secrets.csv")
    assert (finding(report, "secret")["rows"], finding(report, "personal_data")["rows"]) == ([1], [2])
    assert key not in json.dumps(report) and "anna.berg" not in json.dumps(report)
    assert key not in caplog.text and "anna.berg" not in caplog.text


def test_ten_million_rows_are_read_in_bounded_memory_with_progress_and_a_cancel_that_works(
    tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "original"
    with path.open("wb") as file:
        file.write(b"question,answer\n")
        for _ in range(100):
            file.write(b"who is it?,me again\n" * 100_000)
    heard: list[str] = []
    largest, others = 0, set(psutil.Process().children(recursive=True))

    def children() -> set[psutil.Process]:
        return set(psutil.Process().children(recursive=True)) - others

    def progress(_share: float, words: str) -> None:
        nonlocal largest
        largest = max(largest, *(child.memory_info().rss for child in children()))
        heard.append(words)
        if len(heard) == 12:
            raise KeyboardInterrupt

    request = {"do": "import", "source": str(path), "name": "x.csv", "mapping": PAIR, "out": str(tmp_path / "out")}
    with pytest.raises(KeyboardInterrupt):
        ask(request, settings, progress)
    wait_until(lambda: not children(), 5)
    assert "rows read" in heard[-1]
    assert 0 < largest < 400 * 2**20 and not (tmp_path / "out" / "data.parquet").exists()
