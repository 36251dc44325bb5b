"""Cells, names and splits: values in, decisions out."""

from typing import Any

import pytest

from studio.core.formats import Unusable, as_text, clean, shown, shown_name, split_column, split_of


def test_control_characters_and_broken_halves_are_cleaned_and_counted() -> None:
    assert clean("a\x00b\x1b[0m\tc\n") == ("ab[0m\tc\n", 2)
    assert clean("x\ud800") == ("x\ufffd", 1)


def test_splits_are_known_by_their_usual_names() -> None:
    assert [split_of(v) for v in ("Train", "TEST", "held-out", "validation", "dev", "other", None)] == [
        "train", "eval", "eval", "eval", "eval", None, None,
    ]  # fmt: skip
    assert split_column(["a", " Split"]) == " Split" and split_column(["a"]) is None


def test_a_files_name_is_shown_on_one_line_and_not_too_long() -> None:
    assert shown_name("a\nb\x1b.csv") == "a b .csv" and len(shown_name("x" * 300)) == 80


@pytest.mark.parametrize(("value", "text"), [(None, ""), (7, "7"), (1.5, "1.5"), (True, "true"), ("x ", "x ")])
def test_a_cell_is_text_as_it_was_written(value: Any, text: str) -> None:
    assert as_text(value, "a") == text


@pytest.mark.parametrize(("value", "words"), [(["x"], "holds a list in a"), ({"x": 1}, "holds an object in a")])
def test_nested_cells_are_no_text(value: Any, words: str) -> None:
    with pytest.raises(Unusable, match=words):
        as_text(value, "a")


def test_a_sample_is_short_and_clean() -> None:
    assert shown({"x": "é"}) == '{"x": "é"}' and shown("a\x00b") == "ab" and len(shown("x" * 999)) == 300
