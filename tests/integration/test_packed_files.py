"""Archives, workbooks, Parquet and Arrow files, opened directly: what is understood, and what is refused."""

import gzip
import io
import json
import zipfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from studio.importing.limits import Limits
from tests.integration.grammar import as_jsonl, as_parquet, text_cell, workbook, zipped
from tests.integration.test_files import ROWS, Opens, opens, read, refused

__all__ = ["opens"]


def test_nested_columns_dates_and_numbers_of_parquet_become_plain_values(opens: Opens) -> None:
    chat = [{"role": "user", "content": "Hi"}]
    rows = [
        {"chat": chat, "day": date(2024, 5, 1), "at": datetime(2024, 5, 1, 12), "price": Decimal("1.50"), "n": 2},
        {"chat": None, "day": None, "at": None, "price": None, "n": None},
    ]
    source = opens(as_parquet_of(pa.Table.from_pylist(rows)), "rows.parquet")
    assert [record.values for record in read(source)] == [
        {"chat": chat, "day": "2024-05-01", "at": "2024-05-01T12:00:00", "price": "1.50", "n": 2}, rows[1],
    ]  # fmt: skip
    assert source.odd == {}


def as_parquet_of(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_columns_that_hold_no_text_are_named_with_what_they_hold(opens: Opens) -> None:
    row = {
        "image": {"bytes": b"\x89PNG\r\n", "path": "a.png"}, "sound": {"bytes": b"OggS", "path": None},
        "raw": b"\x00\x01",
        "pictures": [{"bytes": b"\xff\xd8\xff", "path": None}], "tags": ["a", "b"], "facts": {"x": 1}, "text": "words",
        "tools": [{"name": "f", "parameters": {"x": 1}}], "history": [["q", "a"]],
    }  # fmt: skip
    expected = {
        "image": "holds images", "sound": "holds sound", "raw": "holds binary data", "pictures": "holds images",
        "tags": "holds lists", "facts": "holds objects",
    }  # fmt: skip
    source = opens(as_parquet_of(pa.Table.from_pylist([row])), "rows.parquet")
    assert source.odd == expected
    values = read(source)[0].values
    assert values["text"] == "words" and not {"image", "sound", "raw", "pictures"} & set(values)
    noted = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})
    table = pa.table({"image": pa.array([None], pa.struct([("bytes", pa.binary()), ("path", pa.string())])), "n": [1]})
    assert opens(as_parquet_of(table.replace_schema_metadata({"huggingface": noted})), "x.parquet").odd == {
        "image": "holds images"
    }


def test_a_flipped_bit_in_parquet_is_told_without_the_librarys_words(opens: Opens) -> None:
    whole = as_parquet(ROWS * 200, write_page_checksum=True, compression="none")
    said = set()
    for place in range(40, len(whole) - 3000, 997):
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        said.add(refused(opens, bytes(flipped), "rows.parquet"))
    assert said and all(words.startswith("The Parquet file is damaged (page of row ") for words in said)


def test_sheets_formulas_numbers_and_empty_rows(opens: Opens, tmp_path: Path) -> None:
    rows = [
        [text_cell("question"), text_cell("answer")], [text_cell("two"), "><v>2</v>"], [],
        [text_cell("sum"), "><f>1+1</f><v>2.5</v>"], [text_cell("=1+1"), 't="b"><v>1</v>'],
    ]  # fmt: skip
    book = workbook({"Notes": [], "Data <1>": rows, "Other": rows})
    source = opens(book, "book.xlsx")
    assert source.warnings == ["Only the sheet Data <1> is read. The others: Notes, Other."]
    assert [(record.number, *record.values.values()) for record in read(source)] == [
        (1, "two", "2"), (3, "sum", "2.5"), (4, "=1+1", "true"),
    ]  # fmt: skip
    assert opens(book, "book.xlsx", sheet="Other").words == "Excel, sheet Other"
    assert (
        refused(opens, book, "book.xlsx", sheet="No")
        == "There is no such sheet. The workbook has: Notes, Data <1>, Other."
    )
    far = '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row>'
    assert "spans 1,048,576 rows and 16,384 columns" in refused(opens, workbook({"A": rows}, far), "far.xlsx")


def test_no_members_path_is_used_and_what_systems_put_beside_is_not_read(opens: Opens, tmp_path: Path) -> None:
    members = {"../../evil/rows.csv": "a,b\n1,2\n", "__MACOSX/._rows.csv": "x", ".DS_Store": "x", "README.md": "Hi"}
    link = zipfile.ZipInfo("link.csv")
    link.external_attr = 0o120777 << 16
    out = io.BytesIO(zipped(dict(members)))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    source = opens(out.getvalue(), "rows.zip")
    assert source.columns == ["a", "b"] and source.warnings == ["Not read: README.md."]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["original", "unpacked"] and not any(p.is_symlink() for p in files)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (zipped({"a.csv": "x", "folder/b.csv": "y"}), "rows.zip holds 2 files: a.csv, b.csv."),
        (zipped({"a/": ""}), "rows.zip holds no file."),
        (zipped({"a.zip": zipped({"a.csv": "x"})}), "rows.zip is packed twice."),
        (gzip.compress(gzip.compress(b"a,b\n1,2\n")), "rows.zip is packed twice."),
        (gzip.compress(as_jsonl(ROWS))[:-9], "The gz archive rows.zip is damaged or cut."),
        (zstandard.compress(as_jsonl(ROWS * 99))[:-9], "The zst archive rows.zip is damaged or cut."),
        (zipped({"a.csv": "a,b\n" * 99})[:-30], "The zip archive rows.zip is damaged or cut."),
        (gzip.compress(bytes(257) + b"ustar" + bytes(99)), "rows.zip is a tar archive, not a table."),
        (zipped({"a.csv": "a,b\n1,2\n"}).replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
         "rows.zip is locked with a password."),
    ],
)  # fmt: skip
def test_an_archive_that_is_not_one_file_is_told(opens: Opens, content: bytes, sentence: str) -> None:
    assert refused(opens, content, "rows.zip") == sentence


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lambda content: zipped({"rows.csv": content})])
def test_a_packed_bomb_is_stopped_by_its_ratio_and_leaves_nothing(opens: Opens, tmp_path: Path, pack: Any) -> None:
    bomb = pack(b"a,b\n" + bytes(60_000_000))
    assert refused(opens, bomb, "bomb.gz") == "bomb.gz unpacks to more than 100 times its size."
    assert not (tmp_path / "scratch" / "unpacked").exists()
    small = pack(b"a,b\n" + b"x,y\n" * 1_000_000)  # 4 MB out of a few kB is nobody's harm
    assert opens(small, "rows.gz").columns == ["a", "b"]


def test_what_unpacks_to_more_than_the_limit_is_told(opens: Opens) -> None:
    limits = Limits(unpacked_bytes=2_000_000)
    said = refused(opens, gzip.compress(b"a,b\n" * 600_000), "rows.gz", limits=limits)
    assert said == "rows.gz unpacks to more than 2 MB."


def test_a_workbook_that_lies_about_its_sizes_is_stopped(opens: Opens) -> None:
    book = bytearray(workbook({"A": [[text_cell("a" * 2_000_000)]]}))
    at = book.rindex(b"PK\x01\x02")
    book[at + 24 : at + 28] = (100).to_bytes(4, "little")
    said = refused(opens, bytes(book), "bomb.xlsx", limits=Limits(packed_bytes=1_000_000))
    assert said == "bomb.xlsx unpacks to more than 100 times its size."


def test_a_parquet_bomb_is_stopped_by_its_footer(opens: Opens) -> None:
    bomb = as_parquet([{"text": "x" * 2_000_000}], compression="zstd", use_dictionary=False)
    said = refused(opens, bomb, "bomb.parquet", limits=Limits(packed_bytes=1_000_000))
    assert said == "bomb.parquet unpacks to more than 100 times its size."
