"""What pages say of data: kinds and columns, bad rows, findings, differences, versions. Values in, markup out."""

import codecs
import json
from dataclasses import replace
from typing import Any

import pytest

from studio.core.errors import Conflict, Refused, StudioError
from studio.core.findings import KINDS, of_counts
from studio.core.formats import ALLOWED, NEEDED, check_mapping
from studio.core.formats import ROLES as KNOWN_ROLES
from studio.core.stores.datasets import DatasetVersion
from studio.core.use_cases.upload import Inspection
from studio.ui import dataset_view, findings_view, intake_view, mapping, roles
from studio.ui.difference import changed_part, difference
from studio.ui.example_card import tokens_of
from studio.ui.findings_card import MOST_STEPS, OF_DATA, OF_MODEL, step_for
from studio.ui.hub_way import choice_of, choices
from studio.ui.mapping_form import mapping_now, sorted_
from studio.ui.mix_card import parts_of
from studio.ui.reading_form import CHOICES, reading_of
from studio.ui.tokens import in_numbers, token_view
from studio.ui.upkeep_card import losses
from studio.ui.versions_view import versions_card

BAD = "<img src=x onerror=alert(1)>"
SEEN: dict[str, Any] = {
    "name": "f.csv", "format": "prompt_completion", "words": "CSV, semicolons, UTF-8",
    "columns": [BAD, "b", "split", "till"],
    "mapping": {"prompt": BAD, "completion": "b"}, "split": "split", "odd": {"till": "holds images"},
    "first": ["<b>x</b>", "y", "train", "1"],
}  # fmt: skip
REPORT: dict[str, Any] = {
    "name": BAD, "container": "csv", "unit": "Row", "words": "CSV, commas, UTF-8", "format": "alpaca",
    "columns": ["a", "b"],
    "read": 40, "kept": 26, "dropped": 14, "mendable": 12, "unused": [BAD], "odd": {"c": "holds images"},
    "reasons": [
        {"kind": "shape", "first": "Row 2,002 has 3 values, the header has 2.", "count": 12, "rows": [2002, 3, 4]},
        {"kind": "empty:b", "first": f"Row 5 has no text in {BAD}.", "count": 2, "rows": [5, 6]},
    ],
}  # fmt: skip


def version(number: int = 1, **report: Any) -> DatasetVersion:
    whole = {**REPORT, **report}
    return DatasetVersion(f"v{number}", "d", "o", BAD, number, BAD, "a" * 64, {"prompt": "a", "completion": "b"}, whole,
                          26, 0, 0.0)  # fmt: skip


def at(number: int) -> str:
    return f"/datasets?example={number}"


# ---------- kinds of data and their columns
@pytest.mark.parametrize("sort", roles.SORTS.values(), ids=lambda sort: sort.name)
def test_each_kind_of_data_is_a_mapping_that_the_import_takes(sort: roles.Sort) -> None:
    columns = {role: f"column {role}" for role in sort.roles}
    assert set(columns) <= set(KNOWN_ROLES)
    assert check_mapping(columns, list(columns.values())) == columns
    assert roles.sort_of({role: columns[role] for role in sort.needed}) in (sort.name, "pair")
    lead = next((role for role in ("text", "messages", "chosen") if role in sort.needed), "completion")
    assert set(NEEDED[lead]) <= set(sort.needed)
    assert set(sort.roles) <= {*NEEDED[lead], *ALLOWED[lead]}


def test_every_role_and_every_finding_has_its_words() -> None:
    assert set(roles.LABELS) == set(roles.INFOS) == set(roles.VERBS) == set(KNOWN_ROLES)
    assert set(findings_view.WORDS) == set(KINDS) == {*OF_DATA, *OF_MODEL}


def test_switching_the_kind_keeps_what_is_known_and_fills_what_is_needed() -> None:
    assert mapping.switched(SEEN, "pair", [None] * len(roles.ROLES)) == {"prompt": BAD, "completion": "b"}
    as_text = mapping.switched(SEEN, "text", [None] * len(roles.ROLES))
    assert as_text == {"text": "b"}
    judged = mapping.switched(SEEN, "judged", [None] * len(roles.ROLES))
    assert judged == {"prompt": BAD, "completion": "b", "label": "split"}
    assert roles.fitted("preference", {}, ["only"]) == {"chosen": "only", "rejected": ""}


def test_the_page_may_send_anything_back() -> None:
    assert mapping.read_seen("[1]") == mapping.read_seen("nonsense") == mapping.read_seen(None) == {}
    columns = [None] * len(roles.ROLES)
    assert len(sorted_("nonsense", "no such kind", *columns)) == len(roles.ROLES) + 1
    assert mapping_now("no such kind", columns) == {}
    with pytest.raises(StudioError, match="not chosen what this file is"):
        mapping.mapping_of("no such kind", columns)
    with pytest.raises(StudioError, match="No column is chosen for Asked"):
        mapping.mapping_of("pair", columns)


def test_every_column_is_named_and_none_is_taken_for_markup() -> None:
    words = mapping.meaning_of(SEEN, SEEN["mapping"])
    assert "<code>&lt;img src=x onerror=alert(1)&gt;</code> is asked" in words
    assert '<code class="learnt">b</code> is learnt' in words
    assert "<code>till</code> is not used" in words
    assert "<code>split</code> says what is held out" in words
    assert "&lt;b&gt;x&lt;/b&gt;" in words and "<img" not in words
    assert "2 more are not used" in mapping.meaning_of({"columns": [f"c{i}" for i in range(26)]}, {})


def test_what_a_file_is_stands_in_words_with_its_odd_columns() -> None:
    words = mapping.greeting(SEEN, ["Two columns are called text."])
    assert "Question and answer. CSV, semicolons, UTF-8." in words
    assert "Column &#39;till&#39; holds images." in words
    assert "Two columns are called text." in words
    chosen = mapping.odd_columns({"odd": {"image": "holds images"}, "mapping": {"prompt": "image"}})
    assert "Column &#39;image&#39; holds images; choose a text column." in chosen


def test_an_inspection_is_remembered_whatever_shape_its_sample_has() -> None:
    facts = {"sample": [{"a": "x" * 500, "b": None}], "format": "text"}
    found = Inspection("u", "f.csv", "csv", ("a", "b"), {"text": "a"}, True, (), facts)
    assert mapping.seen_of(found)["first"] == ["x" * mapping.MOST_SHOWN, ""]
    assert mapping.seen_of(replace(found, facts={}))["first"] == []


# ---------- bad rows
def test_bad_rows_are_told_with_their_numbers_and_what_can_be_mended() -> None:
    words = intake_view.bad_rows(REPORT)
    assert "14 of 40 rows can not be used as they are" in words
    assert "12 of them can be mended." in words
    assert "Row 2,002 has 3 values, the header has 2." in words
    assert "Rows 2,002, 3, 4 and 9 more." in words
    assert "<img" not in words
    assert intake_view.mend_words(1) == "Mend 1 row and go on"
    assert intake_view.without_words(REPORT) == "Use it without 14 rows"
    one = {
        "reasons": [{"first": "Line 3 is not JSON.", "count": 1, "rows": [3]}],
        "container": "jsonl",
        "read": 9,
        "mendable": 1,
    }
    assert "1 of 9 lines can not be used as it is" in intake_view.bad_rows(one)
    assert "It can be mended." in intake_view.bad_rows(one)


def test_what_was_made_says_how_it_was_understood_and_what_was_mended() -> None:
    step = {
        "do": "mend",
        "kind": "broken_rows",
        "count": 12,
        "samples": [{"row": 1, "before": "a,b,c", "after": "a · b,c"}],
    }
    words = intake_view.welcome(version(steps=[step]), "/datasets?id=d")
    assert "Read as <b>Alpaca</b>: CSV, commas, UTF-8." in words
    assert 'href="/datasets?id=d">Change it' in words
    assert "<b>12 rows mended.</b>" in words and "<del>" in words
    assert "<img" not in words


# ---------- differences
def test_a_difference_shows_what_changed_with_a_few_words_around_it() -> None:
    before = "x " * 200 + "card 4929 1204 5512 8841 please" + " y" * 200
    old, new = changed_part(before, before.replace("4929 1204 5512 8841", "[card number]"))
    assert old.startswith("…") and old.endswith("…")
    assert "card 4929 1204 5512 8841 please" in old and "card [card number] please" in new
    assert len(old) < 120
    assert changed_part("same", "same") == ("same", "same")
    assert changed_part("", "new") == ("", "new")


def test_a_difference_is_escaped_and_of_a_row_left_out_one_line_is_shown() -> None:
    words = difference([{"row": 3, "before": BAD + "\n1", "after": ""}])
    assert "<ins>" not in words and "<img" not in words and "↵" in words
    assert difference([]) == ""
    assert difference([{"before": None, "after": None}]).count("<del>") == 0


# ---------- findings
def finding(kind: str, count: int = 7, **more: Any) -> dict[str, Any]:
    rows = list(range(20, 20 + min(count, 30)))
    return {"kind": kind, "count": count, "rows": rows, "examples": [row - 1 for row in rows], "facts": {}, **more}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 7, 1200])
def test_each_finding_has_a_sentence_its_rows_and_at_most_one_button(kind: str, count: int) -> None:
    one = finding(kind, count, facts={"columns": [BAD], "sorts": {BAD: 2}, "languages": {"en": 9, BAD: 1}})
    words = findings_view.finding_note(one, at)
    assert "{" not in words.replace("{{name}}", "") and "<img" not in words
    assert "example=20" in words
    assert bool(findings_view.button_of(one)) == (findings_view.step_of(one) is not None)


def test_findings_say_which_rows_and_lead_to_their_examples() -> None:
    words = findings_view.finding_note(finding("duplicate", 7, facts={"pairs": [[9, 20], [3, 21], [4, 22]]}), at)
    assert "7 rows are there twice" in words
    assert 'Rows 9 and <a class="ts-row" href="/datasets?example=20"' in words
    assert "and 4 more pairs." in words
    personal = finding("personal_data", 2, facts={"sorts": {"card number": 1, "email": 3}})
    assert "1 card number, 3 emails." in findings_view.finding_note(personal, at)
    mix = finding("language_mix", 3, facts={"languages": {"en": 50, "de": 3}})
    assert "English 50, German 3." in findings_view.finding_note(mix, at)
    assert findings_view.step_of(mix) == {"do": "drop", "kind": "language_mix"}
    assert findings_view.button_of(finding("short_answer", 1)) == "Leave out 1 row"
    assert [one["kind"] for one in findings_view.ordered([finding("duplicate"), finding("secret"), {"kind": "?"}])] == [
        "secret", "duplicate"]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"do": "mend", "kind": "broken_rows", "count": 12}, "12 rows mended"),
        ({"do": "mask", "kind": "personal_data", "count": 2}, "Personal data masked in 2 rows"),
        ({"do": "drop", "kind": "personal_data", "count": 2}, "2 rows left out"),
        ({"do": "drop", "kind": "duplicate", "count": 1}, "1 row left out: there twice"),
        ({"do": "mend", "kind": "role_order", "count": 3}, "Turns put in order in 3 rows"),
        ({"do": "?", "kind": "?"}, "0 rows changed"),
    ],
)
def test_a_step_says_what_it_did(step: dict[str, Any], words: str) -> None:
    assert findings_view.step_title(step) == words
    assert MOST_STEPS >= 8


def test_what_a_model_makes_of_the_examples_is_told_like_other_findings() -> None:
    facts = {"repo": "a/b", "revision": "main", "max_length": 64}
    found = {one["kind"]: one for one in of_counts({"cut": 3, "rows": {"too_long": [[7, 6]]}}, facts)}
    assert (found["too_long"]["count"], found["too_long"]["rows"], found["too_long"]["examples"]) == (3, [7], [6])
    assert "no_end_of_turn" not in found
    step = step_for("too_long", found.values())
    assert step == {"do": "drop", "kind": "too_long", **facts}
    with pytest.raises(Conflict, match="not found any more"):
        step_for("no_end_of_turn", found.values())


# ---------- how a file is read
@pytest.mark.parametrize(
    ("inner", "chosen"),
    [
        ("csv", {"delimiter": "\t", "encoding": "cp1252"}),
        ("txt", {"encoding": "cp1252", "text_as": "whole"}),
        ("jsonl", {"encoding": "cp1252"}),
        ("parquet", {}),
        (None, {}),
    ],
)
def test_only_what_a_file_has_can_be_read_differently(inner: str | None, chosen: dict[str, str]) -> None:
    assert reading_of(json.dumps({"inner": inner}), "\t", "cp1252", "whole") == chosen


def test_ways_of_reading_that_are_none_are_left_out_and_each_encoding_exists() -> None:
    assert reading_of('{"inner": "csv"}', "ab", ["utf-8"], "whole") == {}
    assert reading_of("[", None, None, None) == {}
    assert all(codecs.lookup(value) for _, value in CHOICES["encoding"] if value)
    assert mapping.seen_again({"container": "gz", "inner": "csv"})["inner"] == "csv"
    assert mapping.seen_again({"container": "csv"})["inner"] == "csv"


# ---------- one dataset
def test_the_page_of_a_dataset_says_how_it_was_read_and_from_what() -> None:
    sources = [
        {"name": BAD, "kind": "version", "weight": 0.5, "cap": 100, "read": 12},
        {"name": "b", "split": "eval", "read": 1},
    ]
    origin = {"repo": "o/n", "commit": "c" * 40, "licence": "mit", "config": "default", "split": "train"}
    words = dataset_view.how_read(version(sources=sources, origin=origin), 2000)
    assert "weight 0.5, at most 100 taken, 12 rows" in words
    assert "held out to check, 1 row" in words
    assert "cccccccccccc" in words and "mit" in words
    assert "14 rows left out" in words
    assert "Column &#39;c&#39; holds images." in words
    assert "<img" not in words
    assert "This is version 1." in dataset_view.title_of(version(1), version(2))
    assert "This is version" not in dataset_view.title_of(version(2), version(2))


def test_versions_say_what_changed_and_which_runs_learnt_from_them() -> None:
    step = {"do": "mask", "kind": "secret", "count": 1}
    first, second = version(1), version(2, steps=[step], difference={"same": 25, "added": 1, "gone": 1})
    third = replace(version(3, difference={"same": 26, "added": 4}), sha256="b" * 64)
    words = versions_card([third, second, first], second, [("r1", BAD, "succeeded", "v2")])
    assert "Passwords and keys masked in 1 row. 1 new, 1 gone, 25 the same." in words
    assert "Undone: passwords and keys masked in 1 row." in words
    assert "A newer file" in words
    assert 'Used by <a class="ts-link" href="/run?id=r1">&lt;img' in words
    assert words.count("aria-current") == 1
    assert "<img" not in words
    many = [replace(version(n)) for n in range(20, 0, -1)]
    assert "and 8 older ones" in versions_card(many, many[0], [])


def test_what_goes_with_a_dataset_is_named_before_it_goes() -> None:
    assert "go for good" in losses([])
    users = [(f"r{i}", f"run {i}", "succeeded", "v") for i in range(7)]
    assert "7 runs use it: run 0, run 1, run 2, run 3, run 4 and 2 more" in losses(users)


def test_numbers_beside_the_histogram_say_what_is_learnt_and_what_is_cut() -> None:
    counts = {"tokens": 900, "learnt": 300, "cut": 2, "cut_tokens": 100, "longest": 80, "average": 9}
    words = in_numbers(counts, {"average": 2.5, "most": 4})
    assert "33%<small>300 tokens" in words
    assert "10%<small>100 tokens of 2 examples" in words
    assert "2.5<small>on average, 4 at most" in words
    assert "Turns" not in in_numbers(counts, {})


def test_an_example_shows_the_cut_turns_that_are_not_learnt_and_the_answer_not_preferred() -> None:
    def token(text: str, **more: Any) -> dict[str, Any]:
        return {"text": text, "learnt": False, "special": False, "role_mark": False, **more}

    turns = [
        {"role": "assistant", "learnt": False, "tokens": [token("first")]},
        {
            "role": "assistant",
            "learnt": True,
            "tokens": [token("a", learnt=True), token(BAD, cut=True), token("c", cut=True)],
        },
    ]
    other = [{"role": "assistant", "learnt": True, "tokens": [token("worse", learnt=True)]}]
    seen = {"turns": turns, "rejected": other, "label": False, "tokens": 2, "learnt": 1, "cut": 2, "ends": False}
    words = token_view(seen, "Tokens")
    assert words.count("cut here") == 1
    assert words.index("cut here") < words.index("&lt;img")
    assert words.count("not learnt</small>") == 1
    assert "Not preferred" in words and "worse" in words
    assert "Judged bad" in words
    assert "<img" not in words


# ---------- values that a page may send
def test_a_mix_takes_numbers_and_names_what_is_none() -> None:
    assert parts_of(["a", 2, "1,000", "", 1, "", "b", 0.5, None]) == [("a", 2.0, 1000), ("b", 0.5, None)]
    for weight, most in ((None, ""), (1, "many"), (1, "9" * 13), (1, "²")):
        with pytest.raises(Refused):
            parts_of(["a", weight, most])


def test_where_examples_are_cut_stays_within_what_a_run_takes() -> None:
    assert [tokens_of(value) for value in (None, 0, 60, 10**9, float("nan"))] == [1024, 8, 60, 131072, 1024]


def test_splits_of_the_hub_offer_train_to_learn_and_any_to_check() -> None:
    kept = {"configs": {"default": ["test", "train"], "other": ["all"]}}
    learnt, check = choices(kept, "default")
    assert (learnt["value"], check["visible"]) == ("train", True)
    learnt, check = choices(kept, "other")
    assert (learnt["value"], check["visible"]) == ("all", False)
    assert choices({}, "nonesuch")[0]["value"] is None
    chosen = choice_of('{"repo": "o/n", "commit": "abc"}', "default", "train", None)
    assert (chosen.repo, chosen.revision, chosen.split, chosen.check_split) == ("o/n", "abc", "train", "")
