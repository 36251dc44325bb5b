"""Files of every kind that people have, made of rows, and what chance and ill will do to them."""

import csv
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

Rows = Sequence[dict[str, Any]]
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def as_jsonl(rows: Rows) -> bytes:
    """A row a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "replace")


def as_json(rows: Rows) -> bytes:
    """One list."""
    return json.dumps(list(rows), indent=1).encode()


def as_object(rows: Rows) -> bytes:
    """One object with a list under a name of no meaning."""
    return json.dumps({"version": {"n": [1, 2]}, "stuff": list(rows)}).encode()


def as_csv(rows: Rows, delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    """A table of text; chats as JSON text."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        cells = [row.get(name) for name in names]
        writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in cells])
    return text.getvalue().encode(encoding, "replace")


def as_parquet(rows: Rows, **options: Any) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pq.write_table(_arrow(rows), out, **options)
    return out.getvalue()


def as_arrow(rows: Rows) -> bytes:
    """An Arrow file."""
    out, table = io.BytesIO(), _arrow(rows)
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def as_stream(rows: Rows) -> bytes:
    """An Arrow stream."""
    out, table = io.BytesIO(), _arrow(rows)
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _arrow(rows: Rows) -> pa.Table:
    whole = json.dumps(list(rows), ensure_ascii=False).encode("utf-8", "replace")  # without halves of characters
    return pa.Table.from_pylist(json.loads(whole))


def as_text(rows: Rows) -> bytes:
    """Paragraphs."""
    return "\n\n".join(str(value) for row in rows for value in row.values()).encode("utf-8", "replace")


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def text_cell(text: Any) -> str:
    """A cell of a sheet that holds text, as XML without its opening."""
    shown = "".join(character for character in str(text) if character.isprintable() and character < "\ud800")
    return f't="inlineStr"><is><t xml:space="preserve">{escape(shown)}</t></is>'


def as_xlsx(rows: Rows) -> bytes:
    """A workbook with one sheet."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return workbook({"Sheet1": [[text_cell(name) for name in names],
                                *([text_cell(row.get(name, "")) for name in names] for row in rows)]})  # fmt: skip


def workbook(sheets: dict[str, list[list[str]]], more: str = "") -> bytes:
    """A workbook of cells as XML; `more` stands behind the rows of each sheet."""
    listed = "".join(f'<sheet name="{escape(name)}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(sheets, 1))
    links = "".join(
        f'<Relationship Id="r{i}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(sheets) + 1)
    )
    kind = "application/vnd.openxmlformats-"
    members: dict[str, bytes | str] = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType="{kind}'
        'package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName='
        f'"/xl/workbook.xml" ContentType="{kind}officedocument.spreadsheetml.sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_SHEET}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">{links}</Relationships>',
    }
    for i, rows in enumerate(sheets.values(), 1):
        body = "".join(
            f'<row r="{n}">' + "".join(f'<c r="{chr(64 + at)}{n}" {cell}</c>' for at, cell in enumerate(row, 1) if cell)
            + "</row>" for n, row in enumerate(rows, 1)
        )  # fmt: skip
        sheet = f'<worksheet xmlns="{_SHEET}"><sheetData>{body}{more}</sheetData></worksheet>'
        members[f"xl/worksheets/sheet{i}.xml"] = sheet
    return zipped({name: f'<?xml version="1.0" encoding="UTF-8"?>{text!s}' for name, text in members.items()})


MAKERS: dict[str, Callable[[Rows], bytes]] = {
    "jsonl": as_jsonl,
    "json": as_json,
    "object.json": as_object,
    "csv": as_csv,
    "semicolon.csv": lambda rows: as_csv(rows, ";", "cp1252"),
    "tsv": lambda rows: as_csv(rows, "\t", "utf-16"),
    "parquet": as_parquet,
    "arrow": as_arrow,
    "stream.arrow": as_stream,
    "xlsx": as_xlsx,
    "txt": as_text,
    "csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "jsonl.zst": lambda rows: zstandard.compress(as_jsonl(rows)),
    "zip": lambda rows: zipped({"folder/rows.jsonl": as_jsonl(rows)}),
}
_PIECES = (b"\x00", b"\x00" * 40, b"\xef\xbb\xbf", b"\xff\xfe", b"[", b"[" * 100, b"{", b"}", b"]", b'"', b"'", b'""',
           b"\r", b"\n", b"\n\n", b",", b";", b"\t", b"\\", b"\\u", b"NaN", b"\xf0\x9f", b"\x1b[2J", b"PK\x03\x04",
           b"PAR1", b"<script>", b"=1+1")  # fmt: skip


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The file after one mishap."""
    if not content:
        return content
    at = chance.randrange(len(content))
    deed = chance.randrange(7)
    if deed == 0:
        return content[:at]
    if deed == 1:
        flipped = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        return bytes(flipped)
    if deed == 2:
        end = min(len(content), at + chance.choice((1, 4, 40, 400)))
        return content[:at] + content[end:]
    if deed == 3:
        return content[:at] + content[at : at + 200] * chance.choice((2, 50)) + content[at:]
    if deed == 4:
        return chance.choice((gzip.compress, zstandard.compress, lambda c: zipped({"a": c})))(content)
    piece = chance.choice(_PIECES)
    return piece + content if deed == 5 else content[:at] + piece + content[at:]


def hostile_file(chance: random.Random, rows: Rows) -> tuple[str, bytes]:
    """A name and a content: any kind, any ending, up to three mishaps."""
    kind = chance.choice(list(MAKERS))
    content = MAKERS[kind](rows)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        content = mutated(content, chance)
    ending = (
        kind if chance.random() < 0.7 else chance.choice((*MAKERS, "", "docx", "exe", "md", "json.gz", "parquet.zip"))
    )
    name = chance.choice(("rows", "../../etc/passwd", "a\nb\x1b[31m", "<script>alert(1)</script>", "-rf", "é" * 300))
    return f"{name}.{ending}", content
