"""What the sandbox makes of a stranger's list of files and of the beginnings of files; no network in between."""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core.errors import Refused
from studio.importing import heads
from studio.importing.splits import splits

HOSTILE = {
    "no yaml": "---\nconfigs: [: {\n---\n",
    "not a list": "---\nconfigs: 7\n---\n",
    "a list of wrong things": "---\nconfigs:\n- 1\n- {config_name: a, data_files: 5}\n---\n",
    "a name that is no text": "---\nconfigs:\n- {config_name: [1], data_files: rows.csv}\n---\n",
    "two defaults": "---\nconfigs:\n- {config_name: a, default: true}\n- {config_name: b, default: true}\n---\n",
    "a bomb": "---\na: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(i)}: &{chr(i)} [{','.join([f'*{chr(i - 1)}'] * 9)}]\n" for i in range(98, 110))
    + "---\n",
    "python in yaml": "---\nconfigs: !!python/object/apply:os.system ['touch /tmp/owned']\n---\n",
    "a folder of this machine": "---\nconfigs:\n- config_name: a\n  data_dir: /etc\n---\n",
    "a folder above": "---\nconfigs:\n- config_name: a\n  data_dir: ../..\n  data_files: '*'\n---\n",
    "files of this machine": "---\nconfigs:\n- config_name: a\n  data_files: [/etc/passwd, '../../etc/*', '~/x', "
    "'file:///etc/passwd', 'http://127.0.0.1/x.csv', 'zip://a.csv::x.zip']\n---\n",
}


def parts(tmp_path: Path, names: list[str], card: str = "", more: str = "") -> dict[str, dict[str, list[str]]]:
    """The configurations of a dataset that consists of these names."""
    listing = tmp_path / "listing.json"
    listing.write_text(json.dumps({"files": names, "card": card, "more": more}))
    configs: dict[str, dict[str, list[str]]] = splits(listing, "acme/orders")["configs"]
    return configs


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_card_changes_nothing_but_the_names(tmp_path: Path, case: str) -> None:
    assert parts(tmp_path, ["rows.csv"], HOSTILE[case]) == {"default": {"train": ["rows.csv"]}}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["rows.csv"], {"train": ["rows.csv"]}),
        (["train.csv", "test.csv"], {"train": ["train.csv"], "test": ["test.csv"]}),
        (["a/train/1.txt", "a/dev/1.txt"], {"train": ["a/train/1.txt"], "validation": ["a/dev/1.txt"]}),
        (
            ["data/train-00000-of-00001.parquet", "data/odd-00000-of-00001.parquet"],
            {"train": ["data/train-00000-of-00001.parquet"], "odd": ["data/odd-00000-of-00001.parquet"]},
        ),
        (["a.jsonl", "b.jsonl", "c.csv", ".hidden.csv"], {"train": ["a.jsonl", "b.jsonl"]}),
        (["dataset_infos.json", "x.jsonl.gz", "y.txt.zst"], {"train": ["x.jsonl.gz"]}),
    ],
)
def test_without_a_card_the_names_of_files_tell_the_splits(
    tmp_path: Path, names: list[str], expected: dict[str, list[str]]
) -> None:
    assert parts(tmp_path, names) == {"default": expected}


def test_the_file_of_settings_alone_is_read_too(tmp_path: Path) -> None:
    more = "configs:\n- config_name: b\n  data_files: b.csv\n"
    assert parts(tmp_path, ["a.csv", "b.csv"], more=more) == {"b": {"train": ["b.csv"]}}


def test_names_are_only_ever_names(tmp_path: Path) -> None:
    odd = ["../../etc/passwd.csv", "/etc/shadow.csv", "<b>.csv", "a\n.csv", "[x].csv"]
    found = parts(tmp_path, odd)["default"]["train"]
    assert set(found) <= set(odd)


def lines(count: int) -> bytes:
    """JSONL, about 120 bytes a row, of texts that do not shrink."""
    rows = ({"prompt": f"Question {i}", "completion": os.urandom(40).hex()} for i in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def quoted(count: int) -> bytes:
    """A table with line feeds and quotes inside of cells."""
    rows = (f'q{i},"two\nlines, ""{os.urandom(20).hex()}"""\n' for i in range(count))
    return ("prompt,completion\n" + "".join(rows)).encode()


def array(count: int) -> bytes:
    return b"[" + b",\n".join(lines(count).splitlines()) + b"]"


def table(count: int) -> pa.Table:
    texts = [os.urandom(40).hex() for _ in range(count)]
    return pa.table({"prompt": [f"Question {i}" for i in range(count)], "completion": texts})


def parquet(count: int, group: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(table(count), out, row_group_size=group)
    return out.getvalue()


def arrow(count: int, new: Callable[..., Any]) -> bytes:
    out, rows = io.BytesIO(), table(count)
    with new(out, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=1000)
    return out.getvalue()


HEADS: dict[str, Callable[[], bytes]] = {
    "a.jsonl": lambda: lines(30_000),
    "a.json": lambda: lines(30_000),
    "b.json": lambda: array(30_000),
    "c.json": lambda: b'{"version": 1, "data": ' + array(30_000) + b"}",
    "a.csv": lambda: quoted(50_000),
    "utf16.csv": lambda: quoted(30_000).decode().encode("utf-16"),
    "a.jsonl.gz": lambda: gzip.compress(lines(60_000)),
    "a.csv.zst": lambda: pa.compress(quoted(90_000), "zstd", asbytes=True),
    "groups.parquet": lambda: parquet(60_000, 5_000),
    "stream.arrow": lambda: arrow(40_000, pa.ipc.new_stream),
    "file.arrow": lambda: arrow(40_000, pa.ipc.new_file),
    "small.jsonl": lambda: lines(3),
    "small.parquet": lambda: parquet(3, 3),
}


def first_rows(tmp_path: Path, name: str, data: bytes) -> tuple[str, int]:
    """Play the one who fetches: the name of what stands in `rows` then, and how many bytes were fetched."""
    body, size = tmp_path / "body", len(data)
    body.write_bytes(bytes(size))
    need = [[max(0, size - 65_536), size]] if name.endswith(".parquet") else [[0, min(size, heads.FIRST)]]
    have: list[list[int]] = []
    for _ in range(6):
        with body.open("r+b") as out:
            for start, end in need:
                out.seek(start)
                out.write(data[start:end])
        have = [[0, need[-1][1]]] if need[0][0] == (have[0][1] if have and have[0][0] == 0 else -1) else have + need
        asked = {"source": str(body), "out": str(tmp_path / "rows"), "name": name, "size": size, "have": have}
        said = heads.first_rows(asked)
        if "name" in said:
            return said["name"], sum(end - start for start, end in have)
        need = said["need"]
    raise AssertionError("it asks without end")


def rows_of(path: Path, name: str) -> list[dict[str, Any]]:
    """The rows in a small file, by plain libraries: whole, or an error."""
    if name.endswith(".parquet"):
        return list(pq.read_table(path).to_pylist())
    if name.endswith(".arrow"):
        return list(pa.ipc.open_file(path).read_all().to_pylist())
    text = path.read_text("utf-16" if name.startswith("utf16") else "utf-8")
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(text), strict=True))
    return list(json.loads(text)) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", HEADS)
def test_the_first_rows_of_a_large_file_come_without_the_rest(tmp_path: Path, name: str) -> None:
    data = HEADS[name]()
    shown, fetched = first_rows(tmp_path, name, data)
    rows = rows_of(tmp_path / "rows", shown)
    assert len(rows) >= 3 and set(rows[0]) == {"prompt", "completion"}
    assert all(row["completion"] for row in rows)
    assert fetched < 1_300_000 and (name.startswith("small") or fetched < len(data))
    assert shown == name.removesuffix(".gz").removesuffix(".zst")


def test_a_large_group_of_rows_comes_only_in_part(tmp_path: Path) -> None:
    data = parquet(450_000, 450_000)
    assert len(data) > heads._GROUP
    shown, fetched = first_rows(tmp_path, "a.parquet", data)
    assert len(rows_of(tmp_path / "rows", shown)) == 100
    assert fetched < 9_000_000


def test_a_first_row_longer_than_the_first_megabyte_is_still_shown(tmp_path: Path) -> None:
    data = json.dumps({"prompt": "x" * 3_000_000, "completion": "y"}).encode() + b"\n"
    shown, fetched = first_rows(tmp_path, "a.jsonl", data * 9)
    assert len(rows_of(tmp_path / "rows", shown)) == 1 and fetched == 4 << 20


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.parquet", bytes(200_000) + b"x" * 8, "The Parquet file a.parquet is damaged."),
        ("a.parquet", b"PAR1" + bytes(200_000) + b"\xff\xff\xff\x7fPAR1", "The Parquet file a.parquet is damaged."),
        ("a.parquet", bytes(200_000) + b"\x00\x01\x00\x00PAR1", "The Parquet file a.parquet is damaged."),
        ("a.parquet", b"PAR1" + bytes(99) + parquet(9000, 9000)[99:], "The Parquet file a.parquet is damaged."),
        ("a.jsonl.gz", os.urandom(2_000_000), "The gzip file a.jsonl.gz is damaged."),
        ("a.csv.zst", os.urandom(2_000_000), "The zstd file a.csv.zst is damaged."),
    ],
)
def test_a_damaged_file_is_refused_at_its_head(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    with pytest.raises(Refused) as refused:
        first_rows(tmp_path, name, data)
    assert refused.value.problem == problem
