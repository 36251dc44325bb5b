"""Files people have, opened directly: what is understood, and the sentence for each that is not."""

import gzip
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core.errors import Refused
from studio.importing.files.sources import Record, Source, open_source
from studio.importing.limits import Limits
from tests.integration.grammar import MAKERS, as_arrow, as_csv, as_parquet, zipped

ROWS = [{"question": f'What is {n}, and "why"?', "answer": f"Zwei Äpfel; {n}"} for n in range(12)]
Opens = Callable[..., Source]


@pytest.fixture
def opens(tmp_path: Path) -> Opens:
    """Opens content under a name, with a person's wishes."""

    def open_content(
        content: bytes | str, name: str = "rows.csv", limits: Limits | None = None, **reading: str
    ) -> Source:
        path = tmp_path / "original"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return open_source(path, name, limits or Limits(), tmp_path / "scratch", reading)

    return open_content


def read(source: Source) -> list[Record]:
    """All records; twice the same."""
    records = list(source.records())
    assert [(r.number, r.values, r.raw) for r in records] == [(r.number, r.values, r.raw) for r in source.records()]
    return records


def refused(opens: Opens, content: bytes | str, name: str = "rows.csv", **rest: Any) -> str:
    """The sentence that opening or reading ends with."""
    with pytest.raises(Refused) as caught:
        for _ in opens(content, name, **rest).records():
            pass
    assert caught.value.remedy
    return caught.value.problem


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "txt"])
def test_every_container_gives_the_same_rows(opens: Opens, kind: str) -> None:
    source = opens(MAKERS[kind](ROWS), f"rows.{kind}")
    records = read(source)
    assert [record.values for record in records] == ROWS and source.columns == ["question", "answer"]
    assert [record.number for record in records] == list(range(1, 13)) and not source.warnings and not source.odd


@pytest.mark.parametrize(
    ("kind", "container", "inner", "words"),
    [
        ("jsonl", "jsonl", "jsonl", "JSONL, UTF-8"),
        ("object.json", "json", "json", "JSON, UTF-8"),
        ("csv", "csv", "csv", "CSV, commas, UTF-8"),
        ("semicolon.csv", "csv", "csv", "CSV, semicolons, Windows-1252"),
        ("tsv", "tsv", "tsv", "TSV, tabs, UTF-16"),
        ("parquet", "parquet", "parquet", "Parquet"),
        ("stream.arrow", "arrow", "arrow", "Arrow"),
        ("xlsx", "xlsx", "xlsx", "Excel, sheet Sheet1"),
        ("txt", "txt", "txt", "Text, paragraphs, UTF-8"),
        ("csv.gz", "gz", "csv", "CSV, commas, UTF-8, packed as gz"),
        ("jsonl.zst", "zst", "jsonl", "JSONL, UTF-8, packed as zst"),
        ("zip", "zip", "jsonl", "JSONL, UTF-8, packed as zip"),
    ],
)
def test_what_was_understood_is_said(opens: Opens, kind: str, container: str, inner: str, words: str) -> None:
    source = opens(MAKERS[kind](ROWS), f"rows.{kind}")
    assert (source.container, source.inner, source.words) == (container, inner, words)


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "rows.csv", "This file is empty."),
        (b"", "rows.parquet", "This file is empty."),
        (b" \n\r\n\t", "rows.txt", "This file is empty."),
        (b"\xff\xfe", "rows.csv", "This file is empty."),
        (gzip.compress(b""), "rows.gz", "This file is empty."),
        ("question,answer\n", "rows.csv", "rows.csv has column names but no rows."),
        (as_parquet(ROWS[:1])[:-30], "rows.parquet", "The Parquet file is damaged (footer missing)."),
        (as_parquet(ROWS)[:-12] + b"\xff\xff\xff\x7fPAR1", "x.parquet", "The Parquet file is damaged "
         "(footer unreadable)."),
        (as_arrow(ROWS)[:-30], "rows.arrow", "The Arrow file is damaged (footer missing)."),
        ("question,text,text\na,b,c", "rows.jsonl", ""),
        ('question,answer\na,b\n"c,d\n', "rows.csv", "The quote opened in row 2 never closes."),
        ('question,"answer\na,b\n', "rows.csv", "The quote opened in the header never closes."),
        ("[" * 20_000, "rows.jsonl", "rows.jsonl is nested more than 64 levels (line 1)."),
        ('{"a": 1}\n{"a": ' + "[" * 99, "rows.jsonl", "rows.jsonl is nested more than 64 levels (line 2)."),
        ('[{"a": ' + "[" * 99, "rows.json", "rows.json is nested more than 64 levels (line 1)."),
        ('{\n"other": 1}', "rows.json", "rows.json holds no list of rows."),
        ('{"train": [{"a": 1}], "test": [{"a": 2}]}', "x.json", "x.json holds several lists of rows: train, test."),
        ('[{"a": 1}, {"a": 2', "rows.json", "rows.json ends in the middle of row 2: it is damaged or cut."),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "rows.csv", "rows.csv is an image (PNG), not a table."),
        (b"%PDF-1.7", "rows.txt", "rows.txt is a PDF document, not a table."),
        (zipped({"[Content_Types].xml": "", "word/document.xml": ""}), "a.docx",
         "a.docx is a Word document, not a table."),
        (zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}), "a.ods",
         "a.ods is an OpenDocument sheet, not a table."),
        (b"\xd0\xcf\x11\xe0" + bytes(99), "rows.xls", "rows.xls is an old Office document, not a table."),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_in_a_sentence(opens: Opens, content: bytes | str, name: str, sentence: str) -> None:
    started = time.monotonic()
    if sentence:
        assert refused(opens, content, name) == sentence
    else:
        assert all(record.fault and record.fault.words == "is not JSON" for record in opens(content, name).records())
    assert time.monotonic() - started < 2


def test_ragged_rows_and_stray_quotes_are_faults_with_their_mends_and_how_they_stand(opens: Opens) -> None:
    text = 'question,answer\na,1\nb\n\n"two\nlines",2,3\nc,d,,\n"he said "hi" to me",4\n"f"x,y,z"\n'
    records = {record.number: record for record in read(opens(text))}
    said = {number: record.fault.words for number, record in records.items() if record.fault}
    assert said == {
        2: "has 1 value, the header has 2", 3: "has 3 values, the header has 2",
        5: "has text after a closing quote", 6: "has text after a closing quote",
    }  # fmt: skip
    assert records[3].mended == {"question": "two\nlines", "answer": "2,3"} and records[3].raw == '"two\nlines",2,3'
    assert records[5].mended == {"question": 'he said "hi" to me', "answer": "4"}
    assert records[2].mended is None and records[6].mended is None and records[4].values["answer"] == "d"


def test_a_ragged_row_far_down_has_its_number_and_its_text(opens: Opens) -> None:
    text = "question,answer\n" + "a,b\n" * 2001 + "x,y,z\n" + "a,b\n" * 3000
    faulty = [record for record in opens(text).records() if record.fault]
    assert [f"Row {record.number:,} {record.fault.words}." for record in faulty if record.fault] == [
        "Row 2,002 has 3 values, the header has 2."
    ]
    assert faulty[0].raw == "x,y,z"


def test_broken_lines_are_mended_by_their_marks_never_by_words(opens: Opens) -> None:
    lines = [
        '{"a": "x", "b": 1},', "{'a': 'it\\'s', 'b': None, 'c': True}", '{"a": ["x", {"b": 2', '{"a": "cut in the wo',
        '{a: "x", b: NaN}', '{"a": "x" "b": 2}', '{"a": "say "hi""}', '{"a": 1}{"a": 2}', "nothing", '{"a": "x",}', "]",
    ]  # fmt: skip
    records = read(opens('{"a": "good", "n": 12.50}\n\n' + "\n".join(lines), "rows.jsonl"))
    assert str(records[0].values["n"]) == "12.50" and [r.number for r in records] == [1, *range(3, 14)]
    assert [record.mended for record in records[1:]] == [
        {"a": "x", "b": 1}, {"a": "it's", "b": None, "c": True}, {"a": ["x", {"b": 2}]}, None,
        {"a": "x", "b": None}, None, None, None, None, {"a": "x"}, None,
    ]  # fmt: skip
    assert all(record.fault and record.raw == lines[place] for place, record in enumerate(records[1:]))


def test_a_file_of_python_literals_can_be_mended_as_a_whole(opens: Opens) -> None:
    source = opens("".join(f"{{'a': '{n}', 'b': None}}\n" for n in range(5)), "rows.jsonl")
    assert source.columns == ["a", "b"] and [r.mended for r in read(source)][4] == {"a": "4", "b": None}


@pytest.mark.parametrize(
    "content",
    ['{"a": 1}\n{"a": 2}', '[{"a": 1}, {"a": 2}]', '{"data": [{"a": 1}, {"a": 2}], "more": []}',
     '{\n"a": 1}\n{\n"a": 2}', '{"any name": [{"a": 1},\n{"a": 2}]}', '[\n{"a": 1},\n{"a": 2}\n]\n'],
)  # fmt: skip
def test_json_is_read_in_every_shape(opens: Opens, content: str) -> None:
    assert [record.values for record in read(opens(content, "rows.json"))] == [{"a": 1}, {"a": 2}]


def test_a_chat_or_a_text_without_a_name_gets_the_usual_one(opens: Opens) -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    source = opens(json.dumps(chat) + '\n"just text"\n[1]\n', "rows.jsonl")
    assert [record.values for record in read(source)] == [{"messages": chat}, {"text": "just text"}, {}]
    assert [record.values for record in read(opens(json.dumps({"messages": chat}, indent=1), "one.json"))] == [
        {"messages": chat}
    ]


def test_an_item_that_crosses_the_window_is_read_whole_and_broken_items_do_not_stop_it(opens: Opens) -> None:
    rows = [{"a": f'"[{n}' + "x" * 300_000, "n": n} for n in range(12)]
    text = json.dumps(rows)[:-1] + ", {'b': 1}, {\"c\": 2}]"
    records = read(opens(text, "rows.json"))
    assert [record.values for record in records[:12]] == rows
    assert records[12].mended == {"b": 1} and records[13].values == {"c": 2}


def test_equal_and_nameless_columns_are_told_apart_by_place_in_every_table(opens: Opens) -> None:
    source = opens("text,text,,text (column 1)\nw,x,y,z\n")
    assert source.warnings == ["Two columns are called text."]
    assert source.columns == ["text (column 1)'", "text (column 2)", "column 3", "text (column 1)"]
    out = io.BytesIO()
    pq.write_table(pa.table([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]), out)
    source = opens(out.getvalue(), "rows.parquet")
    assert source.warnings == ["Two columns are called text."] and list(read(source)[0].values.values()) == ["x", "y"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"]
)
@pytest.mark.parametrize("mark", [",", ";", "\t", "|", ":", "^", "~"])
def test_any_encoding_and_delimiter_is_found(opens: Opens, encoding: str, mark: str) -> None:
    rows = [{"frage": "Größe und Maß", "antwort": f"schön {n}"} for n in range(9)]
    source = opens(as_csv(rows, mark, encoding))
    assert source.delimiter == mark and [record.values for record in read(source)] == rows


def test_a_persons_own_reading_goes_first_and_a_wrong_one_is_told_with_its_field(opens: Opens) -> None:
    assert opens("a;b\n1,2;3\n", delimiter=",").columns == ["a;b"]
    assert read(opens("a,b\n\xe4,x\n".encode("cp1251", "replace"), encoding="cp1251"))[0].number == 1
    for reading in ({"delimiter": "ab"}, {"encoding": "rot13"}, {"encoding": "\x00"}):
        with pytest.raises(Refused) as caught:
            opens("a,b\n1,2\n", **reading)
        assert caught.value.field == next(iter(reading))
    assert opens("sep=;\na;b\n1;2\n").columns == ["a", "b"]


def test_a_damaged_character_does_not_turn_all_the_others(opens: Opens) -> None:
    source = opens(b"frage,antwort\n" + "Größe,schön\n".encode() * 50 + b"Gr\xc3,x\n")
    assert source.encoding == "utf-8" and "not UTF-8" in source.warnings[0]
    assert read(source)[0].values["frage"] == "Größe"


def test_paragraphs_or_the_whole_file(opens: Opens) -> None:
    text = "Once, long ago.\r\nThere was.\r\n\r\n \r\nThe end.\r\n"
    source = opens(text, "tale.md")
    assert (source.container, source.unit, source.columns) == ("txt", "Paragraph", ["text"])
    assert [record.values["text"] for record in read(source)] == ["Once, long ago.\nThere was.", "The end."]
    assert len(read(opens(text, "tale.md", text_as="whole"))) == 1
    assert opens("question\tanswer\nx y\tz\n", "table.txt").container == "tsv"
    assert opens("question\tanswer\nx y\tz\n", "table.txt", text_as="paragraphs").container == "txt"


@pytest.mark.parametrize(
    ("name", "begin"), [("rows.jsonl", '{"a": "'), ("rows.csv", "a,b\nx,"), ("rows.txt", "Well. ")]
)
def test_a_line_over_the_limit_is_refused_with_it(opens: Opens, name: str, begin: str) -> None:
    said = refused(opens, begin + "x" * 60_000_000, name, limits=Limits(line_bytes=50_000_000))
    line = 2 if name == "rows.csv" else 1
    assert said == f"Line {line} of {name} is longer than 50 MB."


def test_columns_that_come_late_are_named_after_reading(opens: Opens) -> None:
    source = opens('{"a": 1}\n' * 300 + '{"late": 2}\n', "rows.jsonl")
    assert source.columns == ["a"]
    read(source)
    assert source.columns == ["a", "late"] and source.share == 0.0


def test_how_much_was_read_grows_to_one(opens: Opens) -> None:
    for kind in ("jsonl", "csv", "json", "parquet", "stream.arrow", "arrow"):
        source = opens(MAKERS[kind](ROWS * 500), f"rows.{kind}")
        shares = [source.share for _ in source.records()]
        assert shares == sorted(shares) and shares[-1] > 0.8, kind
