"""What the process that reads strangers' files can not do, tried in a real child."""

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.core.errors import Refused
from studio.core.reader import ask
from studio.core.settings import Settings
from studio.importing.limits import Limits
from tests.integration.grammar import text_cell, workbook

ROOT = Path(__file__).parents[2]
TRIES = """
import ctypes, errno, os, socket, subprocess, sys, threading
from studio.importing.limits import Limits, forbid_network, set_limits

early = threading.Event()
late = []
def tried(what):
    try:
        what()
        return "did"
    except PermissionError:
        return "refused"
    except OSError as error:
        return errno.errorcode[error.errno]
def connect():
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2).close()
def raw(number):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, 0, 0, 0, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "")
def of_an_older_thread():
    early.wait()
    late.append(tried(connect))
thread = threading.Thread(target=of_an_older_thread)
thread.start()
set_limits(Limits())
assert forbid_network()
early.set()
thread.join()
print("older thread", late[0])
print("connect", tried(connect))
print("socket", tried(lambda: socket.socket(socket.AF_UNIX)))
print("program", tried(lambda: subprocess.run(["/bin/true"])))
print("exec", tried(lambda: os.execv("/bin/true", ["true"])))
print("ring", tried(lambda: raw(425)))
print("trace", tried(lambda: raw({"x86_64": 101, "aarch64": 117}[os.uname().machine])))
"""
WORKS = """
import io, os, threading
from studio.importing.limits import Limits, forbid_network, set_limits
set_limits(Limits())
assert forbid_network()
import pyarrow as pa, pyarrow.parquet as pq
from tokenizers import Tokenizer, models, pre_tokenizers
done = []
thread = threading.Thread(target=lambda: done.append(1))
thread.start(); thread.join()
out = io.BytesIO()
pq.write_table(pa.table({"a": ["x"] * 1000}), out)
assert pq.read_table(out).num_rows == 1000
tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
assert len(tokenizer.encode_batch(["a b"] * 1000)) == 1000
print("works", done)
"""


def child(code: str, *words: str) -> str:
    """What a fresh Python says that runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={"PATH": os.defpath, "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_child_reaches_no_listener_starts_no_program_and_looks_into_no_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        said = child(TRIES, str(listener.getsockname()[1]))
        with pytest.raises(TimeoutError):
            listener.accept()
    tried = dict(line.rsplit(" ", 1) for line in said.splitlines())
    assert tried == dict.fromkeys(
        ("older thread", "connect", "socket", "program", "exec", "ring", "trace"), "refused"
    )  # fmt: skip


def test_threads_tokenizers_and_arrow_still_work_in_it() -> None:
    assert child(WORKS) == "works [1]\n"


def test_where_the_kernel_has_no_filter_it_says_so_and_goes_on() -> None:
    code = (
        "import platform; platform.machine = lambda: 'riscv64'\n"
        "from studio.importing.limits import forbid_network\nprint(forbid_network())"
    )
    assert child(code) == "False\n"


def test_a_limit_above_what_the_system_allows_is_lowered_to_it() -> None:
    code = (
        "import resource; from studio.importing.limits import Limits, set_limits\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)); set_limits(Limits())\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert child(code) == "(32, 32) (0, 0)\n"


def test_the_limits_are_those_of_the_house() -> None:
    limits = Limits()
    assert (limits.line_bytes, limits.levels, limits.ratio, limits.packed_bytes) == (50 * 2**20, 64, 100, 50_000_000)


def parquet_bomb() -> bytes:
    """A text of 500 kB that 50,000 rows point at: 25 GB out of 700 bytes, which the footer does not tell."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 500_000]))
    table = pa.table({"question": words, "answer": pa.array(["y"] * 50_000)})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", dictionary_pagesize_limit=8 << 20, store_schema=False)
    return out.getvalue()


def workbook_bomb() -> bytes:
    """Few cells in far columns, which the library holds as a full rectangle."""
    cells = "".join(f'<row r="{n}"><c r="ZZ{n}" t="b"><v>1</v></c></row>' for n in range(10, 40_000))
    return workbook({"A": [[text_cell("question"), text_cell("answer")]]}, cells)


@pytest.mark.parametrize(("name", "content"), [("bomb.parquet", parquet_bomb()), ("bomb.xlsx", workbook_bomb())])
def test_what_asks_for_more_memory_than_there_is_ends_with_a_sentence(
    tmp_path: Path, settings: Settings, name: str, content: bytes
) -> None:
    path = tmp_path / "original"
    path.write_bytes(content)
    small = settings.model_copy(update={"import_memory_bytes": 600 * 2**20})
    with pytest.raises(Refused, match=rf"{name} (needs more than 0\.6 GiB|spans )") as caught:
        ask({"do": "inspect", "source": str(path), "name": name}, small)
    assert caught.value.remedy and str(tmp_path) not in str(caught.value)
