"""Files and templates of strangers, read by the real child process under its real limits."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from studio.core.errors import NotFound, Refused, StudioError
from studio.core.reader import ask
from studio.core.settings import Settings
from tests.integration.tiny import make_tokenizer

PAIR = {"prompt": "spoken", "completion": "order"}


def store(tmp_path: Path, content: str | bytes, name: str = "orders.csv") -> dict[str, str]:
    """A file as uploaded: its content under a name of ours, its own name beside."""
    path = tmp_path / "original"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return {"source": str(path), "name": name}


def look(tmp_path: Path, settings: Settings, content: str | bytes, name: str = "orders.csv") -> dict[str, Any]:
    """Inspect content."""
    return ask({"do": "inspect", **store(tmp_path, content, name)}, settings)


def bring(
    tmp_path: Path, settings: Settings, content: str | bytes, name: str = "orders.csv", mapping: Any = PAIR
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Import content: the report, and the rows of the Parquet file."""
    out = tmp_path / "out"
    report = ask({"do": "import", **store(tmp_path, content, name), "mapping": mapping, "out": str(out)}, settings)
    assert json.loads((out / "report.json").read_text()) == report
    assert report["kept"] + report["dropped"] == report["read"]
    assert sorted(path.name for path in out.iterdir()) == ["data.parquet", "dropped.jsonl", "report.json"]
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert len(dropped) == report["dropped"] and all(one["reason"] for one in dropped)
    return report, pq.read_table(out / "data.parquet").to_pylist()


def words(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The contents of each example's messages."""
    return [[message["content"] for message in json.loads(row["messages"])] for row in rows]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "This file is empty."),
        (b" \n\n", "This file is empty."),
        (b"\xef\xbb\xbf", "This file is empty."),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), r"orders.csv is an image \(PNG\), not a table."),
        (b"%PDF-1.4 x", "orders.csv is a PDF document, not a table."),
        (bytes(range(256)) * 9, "orders.csv is a binary file, not a table."),
        ("spoken,order\n", "orders.csv has column names but no rows."),
        ("spoken,order\n\n\n", "has column names but no rows."),
        ("[" * 20_000, r"nested more than 64 levels \(line 1\)"),
        ('{"spoken": "x"}\n{"a": ' + "[" * 70 + "]" * 70 + "}\n", r"nested more than 64 levels"),
        ('{\n"other": 1}', "holds no list of rows"),
    ],
)
def test_a_wrong_file_is_told_in_a_sentence_at_once(
    tmp_path: Path, settings: Settings, content: str | bytes, sentence: str
) -> None:
    name = "orders.csv"
    started = time.monotonic()
    with pytest.raises(Refused, match=sentence) as caught:
        look(tmp_path, settings, content, name)
    assert time.monotonic() - started < 5
    assert str(tmp_path) not in str(caught.value) and caught.value.remedy


def test_a_table_is_recognised_with_encoding_delimiter_columns_and_mapping(tmp_path: Path, settings: Settings) -> None:
    text = "spoken;order_json;till_no\nZwei Brötchen für Müller;{};7\n" + "Größe übergroß;{};8\n" * 30
    found = look(tmp_path, settings, text.encode("cp1252"))
    assert (found["container"], found["delimiter"], found["words"]) == ("csv", ";", "CSV, semicolons, Windows-1252")
    assert found["columns"] == ["spoken", "order_json", "till_no"]
    assert found["mapping"] == {"prompt": "spoken", "completion": "order_json"} and found["certain"]
    assert found["unused"] == ["till_no"] and len(found["sample"]) == 20
    assert list(found["sample"][0].values()) == ["Zwei Brötchen für Müller", "{}", "7"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_each_encoding_is_read_and_no_mark_sticks_to_the_first_column(
    tmp_path: Path, settings: Settings, encoding: str
) -> None:
    _, rows = bring(tmp_path, settings, "spoken,order\nZwei Äpfel für Jörg,ähm\n".encode(encoding))
    assert words(rows) == [["Zwei Äpfel für Jörg", "ähm"]]


def test_ragged_empty_and_stray_rows_fall_out_with_reasons_and_numbers(tmp_path: Path, settings: Settings) -> None:
    text = 'spoken,order\na,1\nb\n\nc,2,3\nd,\n"e,\n5",4\n"f"x,5\ng,6,,\n'
    report, rows = bring(tmp_path, settings, text)
    assert [row["row"] for row in rows] == [1, 5, 7] and words(rows)[1] == ["e,\n5", "4"]
    reasons = {reason["kind"]: reason for reason in report["reasons"]}
    assert (report["read"], report["kept"], report["dropped"]) == (7, 3, 4)
    assert reasons["ragged"] == {
        "kind": "ragged", "first": "Row 2 has 1 value, the header has 2.", "count": 2, "rows": [2, 3], "mendable": 1,
    }  # fmt: skip
    assert reasons["empty:order"]["first"] == "Row 4 has no text in order." and reasons["quote"]["rows"] == [6]


def test_a_quote_that_never_closes_is_told_with_its_row(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(Refused, match=r"The quote opened in row 2 never closes\."):
        bring(tmp_path, settings, 'spoken,order\na,b\n"c,d\ne,f\n')


def test_equal_and_nameless_columns_are_told_apart_by_their_place(tmp_path: Path, settings: Settings) -> None:
    found = look(tmp_path, settings, "text,text,\nx,y,z\n")
    assert found["columns"][:2] == ["text (column 1)", "text (column 2)"]
    assert found["warnings"] == ["Two columns are called text."]


def test_a_broken_line_of_jsonl_falls_out_with_its_number_and_blank_lines_do_not_count(
    tmp_path: Path, settings: Settings
) -> None:
    lines = '{"spoken": "a", "order": 12.50}\n\n{"spoken": "b", "order"\n{"spoken": "c", "order": null}\n' \
            '[1]\n{"spoken": "d", "order": {"x": 1}}\n{"spoken": "e", "order": true}\n'  # fmt: skip
    report, rows = bring(tmp_path, settings, lines, "orders.jsonl")
    assert words(rows) == [["a", "12.50"], ["e", "true"]] and [row["row"] for row in rows] == [1, 7]
    assert report["read"] == 6
    assert [reason["first"] for reason in report["reasons"]] == [
        "Line 3 is not JSON.", "Line 4 has no text in order.", "Line 5 holds no named values.",
        "Line 6 holds an object in order.",
    ]  # fmt: skip


@pytest.mark.parametrize("wrap", ["%s", '{"version": {"n": [1]}, "data": %s, "more": []}'])
def test_an_array_and_a_list_called_data_are_read_item_by_item(tmp_path: Path, settings: Settings, wrap: str) -> None:
    items = [{"spoken": f'say "[{n}]", \\ ok', "order": "{,]"} for n in range(300)]
    for indent in (None, 2):
        report, rows = bring(tmp_path, settings, wrap % json.dumps(items, indent=indent), "orders.json")
        assert report["container"] == "json" and words(rows) == [list(item.values()) for item in items]


def test_a_cut_array_is_told(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(Refused, match=r"ends in the middle of row 2"):
        bring(tmp_path, settings, '[{"spoken": "a", "order": "b"}, {"spoken": "c"', "orders.json")


def test_a_missing_column_is_told_with_the_real_ones_and_nothing_is_written(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(Refused, match=r"There is no column called 'x'\. The file has: spoken, order\.") as caught:
        bring(tmp_path, settings, "spoken,order\na,b\n", mapping={"prompt": "spoken", "completion": "x"})
    assert caught.value.field == "completion" and not list((tmp_path / "out").iterdir())


def test_rows_without_any_text_are_refused_with_their_number(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(Refused, match=r"0 of 20 rows have text in spoken and order\."):
        bring(tmp_path, settings, "spoken,order\n" + ",\n" * 20)
    assert list((tmp_path / "out").iterdir()) == []


def test_chats_are_read_from_jsonl_and_from_json_text_in_a_table(tmp_path: Path, settings: Settings) -> None:
    chat = [
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Ho", "weight": 0},
        {"from": "gpt", "value": "Hm"},
    ]
    lines = json.dumps({"talk": chat}) + "\n" + json.dumps({"talk": [{"role": "narrator", "content": "x"}]})
    report, rows = bring(tmp_path, settings, lines, "chats.jsonl", {"messages": "talk"})
    expected = [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "weight": 0},
        {"role": "assistant", "content": "Hm"},
    ]  # fmt: skip
    assert json.loads(rows[0]["messages"]) == expected
    assert report["reasons"][0]["first"] == "Line 2 has the unknown role 'narrator'."
    table = 'id,talk\n1,"' + json.dumps(chat).replace('"', '""') + '"\n'
    assert look(tmp_path, settings, table)["mapping"] == {"messages": "talk"}
    _, rows = bring(tmp_path, settings, table, mapping={"messages": "talk"})
    assert json.loads(rows[0]["messages"]) == expected


def test_a_split_column_becomes_the_held_out_part(tmp_path: Path, settings: Settings) -> None:
    text = "spoken,order,split\na,1,train\nb,2,TEST\nc,3,\n"
    report, rows = bring(tmp_path, settings, text)
    assert [row["split"] for row in rows] == ["train", "eval", None] and report["held_out"] == 1
    assert report["unused"] == []


def test_control_characters_are_cleaned_and_counted(tmp_path: Path, settings: Settings) -> None:
    lines = "".join(f"line {n},fine\n" for n in range(60))
    report, rows = bring(tmp_path, settings, "spoken,order\na\x00b,\x1b[31mc\n" + lines)
    assert words(rows)[0] == ["ab", "[31mc"]
    assert report["warnings"] == ["2 control characters were taken out (rows 1)."]


def test_half_a_character_from_json_is_replaced(tmp_path: Path, settings: Settings) -> None:
    _, rows = bring(tmp_path, settings, r'{"spoken": "a\ud800", "order": "b"}' + "\n", "x.jsonl")
    assert words(rows) == [["a\ufffd", "b"]]


def test_a_line_of_60_mb_is_refused_with_the_limit(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(Refused, match="longer than 50 MB"):
        look(tmp_path, settings, '{"spoken": "' + "x" * 60_000_000 + '"}', "x.jsonl")


def test_a_large_file_is_read_in_little_memory_with_progress(tmp_path: Path, settings: Settings) -> None:
    text = "spoken,order\n" + "two apples please and some more words,yes of course\n" * 100_000
    small = settings.model_copy(update={"import_memory_bytes": 400 * 2**20})
    heard: list[tuple[float, str]] = []
    request = {"do": "import", **store(tmp_path, text), "mapping": PAIR, "out": str(tmp_path / "out")}
    report = ask(request, small, lambda share, said: heard.append((share, said)))
    assert report["kept"] == 100_000
    assert [share for share, _ in heard] == sorted(share for share, _ in heard) and "rows read" in heard[0][1]


def test_a_reader_that_raises_ends_the_child(tmp_path: Path, settings: Settings) -> None:
    text = "spoken,order\n" + "two apples please,yes of course\n" * 100_000

    def cancel(_share: float, _words: str) -> None:
        raise KeyboardInterrupt

    request = {"do": "import", **store(tmp_path, text), "mapping": PAIR, "out": str(tmp_path / "out")}
    with pytest.raises(KeyboardInterrupt):
        ask(request, settings, cancel)
    assert not (tmp_path / "out" / "data.parquet").exists()


def test_too_little_memory_is_told(tmp_path: Path, settings: Settings) -> None:
    small = settings.model_copy(update={"import_memory_bytes": 150 * 2**20})
    with pytest.raises(Refused, match=r"x\.jsonl needs more than 0\.1 GiB to read\."):
        look(tmp_path, small, '{"spoken": [' + '"x",' * 11_000_000 + '"x"]}', "x.jsonl")


def test_too_long_a_time_is_told(tmp_path: Path, settings: Settings) -> None:
    short = settings.model_copy(update={"import_seconds": 1})
    text = "spoken,order\n" + "two apples please,yes of course\n" * 1_500_000
    request = {"do": "import", **store(tmp_path, text), "mapping": PAIR, "out": str(tmp_path / "out")}
    with pytest.raises(Refused, match=r"orders\.csv took longer than 1 s to read\."):
        ask(request, short)


def test_it_may_be_asked_from_any_thread(tmp_path: Path, settings: Settings) -> None:
    request = {"do": "inspect", **store(tmp_path, "spoken,order\na,b\n")}
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(request, settings))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and answers[0] == answers[2]


def test_a_fault_of_ours_becomes_a_sentence_and_leaves_no_rows_in_the_log(
    tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StudioError, match=r"orders\.csv could not be read\."):
        ask({"do": "inspect", "source": str(tmp_path / "gone"), "name": "orders.csv"}, settings)
    assert "FileNotFoundError" in caplog.text


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a tokenizer and ChatML with a system message of its own."""
    folder = tmp_path / "model"
    make_tokenizer().save_pretrained(folder)
    return folder


def dataset(tmp_path: Path, settings: Settings, rows: int = 40) -> Path:
    """An imported dataset of `rows` pairs."""
    lines = [json.dumps({"spoken": f"{n} apples to Anna", "order": json.dumps({"count": n})}) for n in range(rows)]
    bring(tmp_path, settings, "\n".join(lines), "orders.jsonl")
    return tmp_path / "out" / "data.parquet"


def test_a_preview_shows_each_turn_with_its_tokens_and_what_is_learnt(
    tmp_path: Path, settings: Settings, model: Path
) -> None:
    data = dataset(tmp_path, settings)
    seen = ask({"do": "preview", "data": str(data), "model": str(model), "index": 3, "max_length": 512}, settings)
    assert [turn["role"] for turn in seen["turns"]] == ["system", "user", "assistant"]
    assert "".join(token["text"] for turn in seen["turns"] for token in turn["tokens"]) == seen["text"]
    answer = seen["turns"][2]["tokens"]
    assert "".join(token["text"] for token in answer if token["learnt"]) == '{"count": 3}<|im_end|>'
    assert answer[0] == {"text": "<|im_start|>", "learnt": False, "special": True, "role_mark": False}
    assert "".join(token["text"] for token in answer if token["role_mark"]) == "assistant\n\n"
    assert not any(token["learnt"] for turn in seen["turns"][:2] for token in turn["tokens"])
    system = seen["turns"][0]["tokens"]
    assert "".join(t["text"] for t in system if t["role_mark"]).strip() == "system"
    assert (seen["row"], seen["total"], seen["cut"], seen["ends"]) == (4, 40, 0, True)
    assert seen["learnt"] == sum(token["learnt"] for token in answer)


def test_a_preview_of_no_example_is_told(tmp_path: Path, settings: Settings, model: Path) -> None:
    with pytest.raises(NotFound, match="There is no example 41; the dataset has 40"):
        ask({"do": "preview", "data": str(dataset(tmp_path, settings)), "model": str(model), "index": 40}, settings)


def test_a_count_of_400_examples_is_quick_and_adds_up(tmp_path: Path, settings: Settings, model: Path) -> None:
    data = dataset(tmp_path, settings, 400)
    request = {"do": "count", "data": str(data), "model": str(model), "max_length": 1024, "eval_share": 0.1, "seed": 42}
    started = time.monotonic()
    counted = ask(request, settings)
    assert time.monotonic() - started < 4  # under one second where nothing else runs
    assert (counted["examples"], counted["train"], counted["held_out"], counted["counted"]) == (400, 360, 40, 400)
    assert counted["cut"] == counted["nothing_learnt"] == counted["no_end"] == counted["refused"] == 0
    assert 0 < counted["learnt"] < counted["tokens"] and sum(counted["histogram"]["counts"]) == 400
    cut = ask({**request, "max_length": counted["longest"] - 1}, settings)
    assert 0 < cut["cut"] == cut["cut_tokens"] and cut["tokens"] + cut["cut_tokens"] == counted["tokens"]
    tiny = ask({**request, "max_length": 8}, settings)
    assert tiny["nothing_learnt"] == 400 and tiny["learnt"] == 0
    assert tiny["train"] == tiny["held_out"] == tiny["train_tokens"] == 0  # as the trainer leaves them out


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 10 ** (10 ** 9) }}",
    ],
)
def test_a_hostile_template_is_stopped_with_a_sentence(
    tmp_path: Path, settings: Settings, model: Path, source: str
) -> None:
    data = dataset(tmp_path, settings)
    (model / "chat_template.jinja").write_text(source)
    started = time.monotonic()
    what = "preview" if "range" in source else "count"
    with pytest.raises(Refused, match=r"This model's chat template is unsafe or too slow\."):
        ask({"do": what, "data": str(data), "model": str(model)}, settings)
    assert time.monotonic() - started < 30  # 2.5 s of CPU time; other tests may share the cores


def test_a_template_that_refuses_every_example_is_told_and_one_that_refuses_some_is_counted(
    tmp_path: Path, settings: Settings, model: Path
) -> None:
    data = dataset(tmp_path, settings)
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text("{{ raise_exception('No system role') }}")
    with pytest.raises(Refused, match="refuses the chat: No system role"):
        ask({"do": "count", "data": str(data), "model": str(model)}, settings)
    picky = "{% if messages[0].content.startswith('7 ') %}{{ raise_exception('Not 7') }}{% endif %}" + template
    (model / "chat_template.jinja").write_text(picky)
    counted = ask({"do": "count", "data": str(data), "model": str(model)}, settings)
    assert counted["refused"] == 1 and counted["counted"] == 39 and "Not 7" in counted["refused_words"]
