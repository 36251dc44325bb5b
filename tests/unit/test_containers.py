"""Recognition of files: bytes in, decisions out."""

import pytest

from studio.core.containers import binary_kind, container, delimiter, is_table, looks_utf16


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "an image (PNG)"),
        (b"\xff\xd8\xff\xe0", "an image (JPEG)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PAR1abc", "a Parquet file"),
        (b"PK\x03\x04....xl/workbook.xml", "an Excel workbook"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"PK\x03\x04....word/document.xml", "a Word document"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"ARROW1\x00\x00", "an Arrow file"),
        (b"\xff\xff\xff\xff\x10\x00\x00\x00", "an Arrow stream"),
        (bytes(257) + b"ustar", "a tar archive"),
        (b"RIFF....WAVEfmt ", "a sound file (WAV)"),
        (b"q\x1fa\n1\x1f2\n3\x1f4\n", ""),
        (bytes(range(32)) * 8, "a binary file"),
        (b"a,b\n1,2\n", ""),
        (b"a,b\n1,\x002\n" * 1, ""),
        ("q,a\nHallo,Ja\n".encode("utf-16"), ""),
        ("q,a\nHallo,Ja\n".encode("utf-16-le"), ""),
    ],
)
def test_a_file_that_is_no_text_is_known_by_its_first_bytes(head: bytes, kind: str) -> None:
    assert binary_kind(head) == kind


def test_utf16_without_a_mark_is_seen() -> None:
    assert looks_utf16("question,answer".encode("utf-16-be")) == "utf-16-be"
    assert looks_utf16(b"question,answer") == ""


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        ('{"a": 1}\n{"a": 2}\n', "x.jsonl", "jsonl"),
        ('{"a": 1}\n{"a": 2}\n', "x.json", "jsonl"),
        ('{"a": 1}\n{"a": 2}\n', "x.csv", "jsonl"),
        ('{"a": 1}', "x.txt", "jsonl"),
        ('{broken\n{"a": 2}\n', "x.jsonl", "jsonl"),
        ('[{"a": 1}]', "x.json", "json"),
        ('[\n {"a": 1}\n]', "x.jsonl", "json"),
        ('[{"a": 1},\n {"a": 2}]', "x.jsonl", "json"),
        ('{\n "data": [\n', "x.json", "json"),
        ('{"data": [{"a": 1}]}', "x.json", "json"),
        ("a,b\n1,2", "x.json", "csv"),
        ("[note],b\n1,2", "x.csv", "csv"),
    ],
)
def test_the_container_is_known_by_how_the_text_begins(head: str, name: str, kind: str) -> None:
    assert container(head, name) == kind


@pytest.mark.parametrize(
    ("head", "mark"),
    [
        ("a;b\n1,5;2\n3,5;4\n", ";"),
        ("a\tb\nx, y\tz\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("a,b\n1,2\n", ","),
        ("a\nb\n", ","),
        ("q:a\n1:2\n3:4\n", ":"),
        ("q^a\n1^2\n", "^"),
        ("q~a\n1~2\n", "~"),
        ("q\x1fa\n1\x1f2\n", "\x1f"),
        ("note: a\nb\n", ","),
        ("a,b\n12:30,x\n13:30,y\n", ","),
        ("q;a\n\u2028x;y\n", ";"),
        ('q,a\n"x\ny",z\n', ","),
    ],
)
def test_the_delimiter_is_the_one_that_parts_all_rows_alike(head: str, mark: str) -> None:
    assert delimiter(head) == mark


@pytest.mark.parametrize(
    ("head", "table"),
    [
        ("q\ta\nx y\tz\n", True),
        ("question,answer\nWhat, me?,yes\n" * 1 + "a,b\n", False),
        ("question,answer\nhi,ho\n", True),
        ("Well, hello.\nYes, it is.\n", False),
        ("Roses are red, violets are blue\nSugar is sweet, and so are you\n", False),
        ("q,a\n\nhi,ho\n", False),
        ("one line, of text\n", False),
        ("just words\nand more\n", False),
    ],
)
def test_a_text_is_a_table_only_where_it_evidently_is(head: str, table: bool) -> None:
    assert is_table(head) is table
