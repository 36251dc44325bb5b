"""Versions of datasets: repaired, undone, renewed, checked with an own file, mixed, deleted. Real files, real child."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.core.artifacts import new_id
from studio.core.config import parse_config
from studio.core.data_file import DataFile
from studio.core.errors import Conflict, NotFound, Refused
from studio.core.services import Services
from studio.core.states import State
from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.runs import Event, NewRun
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases import storage, upload, versions
from studio.core.use_cases.building import read_recipe
from tests.integration.shapes import make_family

PAIR = {"prompt": "asked", "completion": "answer"}
TWICE = {"do": "drop", "kind": "duplicate"}
BROKEN = {"do": "mend", "kind": "broken_rows"}


def lines(*rows: tuple[str, str]) -> str:
    """JSONL of pairs."""
    return "".join(json.dumps({"asked": asked, "answer": answer}) + "\n" for asked, answer in rows)


ORDERS = lines(*[(f"Please send {n} green apples", f"{n} apples are on their way") for n in range(12)])


def take(services: Services, tmp_path: Path, text: str, name: str = "orders.jsonl") -> str:
    """An upload."""
    path = tmp_path / f"{new_id()}.up"
    path.write_text(text)
    return upload.receive(services, LOCAL_USER, path, name).upload_id


def made(services: Services, tmp_path: Path, text: str = ORDERS, name: str = "orders.jsonl") -> DatasetVersion:
    """A dataset."""
    return upload.import_upload(services, LOCAL_USER, take(services, tmp_path, text, name), PAIR)


def contents(services: Services, version: DatasetVersion) -> list[str]:
    """The answers of a version."""
    with DataFile(services.artifacts.data_parquet(version.id)) as file:
        return [example.answers[-1] for example in file.examples()]


def queue_run(services: Services, version: DatasetVersion, state: State = "queued") -> str:
    """A run of a version, brought to an end where asked."""
    config = parse_config({}).model_dump()
    run = services.runs.add(NewRun(LOCAL_USER, "tuned", config, "base", "main", version.id))
    if state == "stopped":
        assert services.runs.move(run, "stopped", Event(0.0, "stopped", "Stopped", ""), ended_at=1.0)
    return run.id


@pytest.fixture
def make(services: Services, tmp_path: Path) -> Callable[..., DatasetVersion]:
    """A maker of datasets."""
    return lambda *parts: made(services, tmp_path, *parts)


def test_a_repair_is_a_new_version_with_the_step_and_the_difference(services: Services, make: Any) -> None:
    first = make(ORDERS + lines(("Please send 1 green apples", "1 apples are on their way")))
    assert [(f["kind"], f["rows"]) for f in first.report["findings"]] == [("duplicate", [13])]
    second = versions.repair(services, LOCAL_USER, first.id, TWICE)
    assert (second.dataset_id, second.number, second.examples) == (first.dataset_id, 2, 12)
    assert second.report["difference"] == {"same": 12, "added": 0, "gone": 1} and second.report["findings"] == []
    (step,) = second.report["steps"]
    assert (step["do"], step["kind"], step["count"], step["rows"]) == ("drop", "duplicate", 1, [13])
    assert len(contents(services, first)) == 13 and len(contents(services, second)) == 12
    with pytest.raises(Conflict, match="mended already"):
        versions.repair(services, LOCAL_USER, second.id, TWICE)
    assert [version.number for version in versions.of(services, LOCAL_USER, first.dataset_id)] == [2, 1]


def test_undo_goes_back_to_the_version_before_where_no_run_used_the_new_one(services: Services, make: Any) -> None:
    first = make(ORDERS + ORDERS)
    second = versions.repair(services, LOCAL_USER, first.id, TWICE)
    assert versions.undo(services, LOCAL_USER, second.id, 0) == first
    assert not services.artifacts.dataset_dir(second.id).exists()
    again = versions.repair(services, LOCAL_USER, first.id, TWICE)
    queue_run(services, again)
    third = versions.undo(services, LOCAL_USER, again.id, 0)
    assert (third.number, third.examples) == (3, 24) and len(contents(services, again)) == 12
    with pytest.raises(Conflict, match="not there any more"):
        versions.undo(services, LOCAL_USER, third.id, 0)


def test_secrets_are_masked_with_the_texts_before_and_after_and_the_file_stays_as_it_is(
    services: Services, make: Any
) -> None:
    text = ORDERS + lines(("Who orders?", "Write to anna.berg@firma.de about the apples"))
    first = make(text)
    assert [f["kind"] for f in first.report["findings"]] == ["personal_data"]
    second = versions.repair(services, LOCAL_USER, first.id, {"do": "mask", "kind": "personal_data"})
    (sample,) = second.report["steps"][0]["samples"]
    assert sample["before"] == "Write to anna.berg@firma.de about the apples" and "[email]" in sample["after"]
    assert "anna.berg" not in "".join(contents(services, second)) and second.report["findings"] == []
    assert (services.artifacts.dataset_dir(second.id) / "original").read_text() == text


def test_twelve_broken_rows_are_mended_at_once_and_shown(services: Services, tmp_path: Path) -> None:
    text = "asked,answer\n" + "".join(
        f"ask {n},say {n}, please\n" if n % 2 else f"ask {n},say {n}\n" for n in range(24)
    )
    upload_id = take(services, tmp_path, text, "orders.csv")
    seen = upload.draft(services, LOCAL_USER, upload_id, PAIR)
    assert (seen["read"], seen["kept"], seen["dropped"], seen["mendable"]) == (24, 12, 12, 12)
    assert seen["reasons"][0]["first"] == "Row 2 has 3 values, the header has 2."
    version = upload.import_upload(services, LOCAL_USER, upload_id, PAIR, [BROKEN])
    (step,) = version.report["steps"]
    assert (version.examples, step["count"], step["samples"][0]["before"]) == (24, 12, "ask 1,say 1, please")
    assert contents(services, version)[1].replace(", ", ",") == "say 1,please"
    assert list(services.artifacts.upload_dir().iterdir()) == []


def test_a_draft_is_used_by_the_import_and_nothing_is_read_twice(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = take(services, tmp_path, ORDERS)
    drafted = upload.draft(services, LOCAL_USER, upload_id, PAIR)
    monkeypatch.setattr("studio.core.use_cases.building.ask", lambda *_: pytest.fail("read again"))
    assert upload.import_upload(services, LOCAL_USER, upload_id, PAIR).examples == drafted["kept"]


def test_a_newer_file_is_the_next_version_with_the_steps_replayed(
    services: Services, tmp_path: Path, make: Any
) -> None:
    first = make(ORDERS + ORDERS)
    versions.repair(services, LOCAL_USER, first.id, TWICE)
    newer = ORDERS.replace("3 apples are", "3 pears are") + ORDERS + lines(("One more?", "Certainly, one more pear"))
    third = versions.renew(services, LOCAL_USER, first.dataset_id, take(services, tmp_path, newer, "newer.jsonl"))
    assert (third.number, third.name, third.file_name, third.examples) == (3, "orders.jsonl", "newer.jsonl", 14)
    assert third.report["difference"] == {"same": 12, "added": 2, "gone": 0}
    assert third.report["steps"][0]["count"] == 11
    with pytest.raises(Refused, match="There is no column called 'asked'"):
        versions.renew(services, LOCAL_USER, first.dataset_id, take(services, tmp_path, '{"x": "y"}\n'))
    assert len(versions.of(services, LOCAL_USER, first.dataset_id)) == 3


def test_an_own_file_to_check_with_is_held_out_and_leaks_are_told(
    services: Services, tmp_path: Path, make: Any
) -> None:
    first = make()
    check = lines(("Please send 3 green apples", "3 apples are on their way"), ("And pears?", "We have no pears today"))
    second = versions.check_with(services, LOCAL_USER, first.id, take(services, tmp_path, check, "check.jsonl"))
    assert (second.examples, second.held_out) == (14, 2)
    assert [source["split"] for source in second.report["sources"]] == [None, "eval"]
    found = {finding["kind"]: finding for finding in second.report["findings"]}
    assert found["leakage"]["rows"] == [4]
    third = versions.repair(services, LOCAL_USER, second.id, {"do": "drop", "kind": "leakage"})
    assert (third.examples, third.held_out) == (13, 2)
    other = versions.check_with(services, LOCAL_USER, third.id, take(services, tmp_path, lines(("Hi?", "Ho, you"))))
    assert (other.held_out, len(other.report["sources"])) == (1, 2)


def test_other_columns_are_a_new_version(services: Services, make: Any) -> None:
    first = make()
    second = versions.remap(services, LOCAL_USER, first.id, {"prompt": "answer", "completion": "asked"})
    assert contents(services, second)[0] == "Please send 0 green apples" and second.mapping["prompt"] == "answer"


def test_a_mix_takes_each_as_often_as_its_weight_says_and_no_more_than_the_cap(services: Services, make: Any) -> None:
    orders = make()
    pears = make(lines(*[(f"Any pears, number {n}?", f"{n} pears are left") for n in range(40)]), "pears.jsonl")
    mixed = versions.mix(services, LOCAL_USER, [(orders.id, 2, None), (pears.id, 1, 10)], "both", seed=3)
    said = contents(services, mixed)
    assert (mixed.name, mixed.examples) == ("both", 34) and sum("pears" in one for one in said) == 10
    assert sorted(one for one in said if "apples" in one)[:2] == ["0 apples are on their way"] * 2
    assert [(s["name"], s["weight"], s["cap"], s["read"]) for s in mixed.report["sources"]] == [
        ("orders.jsonl", 2.0, None, 12), ("pears.jsonl", 1.0, 10, 40),
    ]  # fmt: skip
    half = versions.mix(services, LOCAL_USER, [(orders.id, 0.5, None), (pears.id, 0.5, None)], "half")
    assert 15 <= half.examples <= 37 and mixed.report["mixed"]


def test_examples_too_long_for_a_model_are_left_out_by_a_step_that_is_replayed(
    services: Services, tmp_path: Path, make: Any
) -> None:
    model = make_family(tmp_path / "model", "chatml")
    long = lines(("And now for something longer?", "It goes on and on, further than anybody would read. " * 20))
    first = make(ORDERS + long)
    step = {"do": "drop", "kind": "too_long", "repo": str(model), "revision": "main", "max_length": 200}
    second = versions.repair(services, LOCAL_USER, first.id, step)
    assert (second.examples, second.report["steps"][0]["rows"]) == (12, [13])
    renewed = take(services, tmp_path, long + long.replace("longer", "other") + ORDERS)
    third = versions.renew(services, LOCAL_USER, first.dataset_id, renewed)
    assert third.report["steps"][0]["rows"] == [1, 2] and third.examples == 12


def test_steps_for_two_lengths_stand_side_by_side(services: Services, tmp_path: Path, make: Any) -> None:
    model = make_family(tmp_path / "model", "chatml")
    longer = [("And now for something longer?", "It goes on. " * times) for times in (30, 90)]
    first = make(ORDERS + lines(*longer))
    step = {"do": "drop", "kind": "too_long", "repo": str(model), "revision": "main", "max_length": 500}
    second = versions.repair(services, LOCAL_USER, first.id, step)
    third = versions.repair(services, LOCAL_USER, second.id, {**step, "max_length": 200})
    assert [one["rows"] for one in third.report["steps"]] == [[14], [13]] and third.examples == 12
    with pytest.raises(Conflict, match="mended already"):
        versions.repair(services, LOCAL_USER, third.id, step)


def test_a_text_is_read_by_paragraphs_or_whole_as_the_person_says(services: Services, tmp_path: Path) -> None:
    text = "Once upon a time.\n\nThere was a king.\n\nHe had three daughters.\n"
    upload_id = take(services, tmp_path, text, "tale.txt")
    found = upload.inspect(services, LOCAL_USER, upload_id)
    assert (found.container, found.mapping, found.is_certain) == ("txt", {"text": "text"}, True)
    upload.read_as(services, LOCAL_USER, upload_id, {"text_as": "whole", "delimiter": ""})
    whole = upload.import_upload(services, LOCAL_USER, upload_id, found.mapping)
    assert contents(services, whole) == [text.strip()] or contents(services, whole) == [text]
    parted = versions.reread(services, LOCAL_USER, whole.id, {"text_as": "paragraphs"})
    assert contents(services, parted)[1] == "There was a king." and parted.examples == 3


def test_another_delimiter_gives_other_columns_whose_meaning_is_guessed_anew(
    services: Services, tmp_path: Path
) -> None:
    text = "question;x,answer;y\n" + "".join(f"Who is {n};1,Number {n} it is;2\n" for n in "abcd")
    upload_id = take(services, tmp_path, text, "odd.csv")
    upload.read_as(services, LOCAL_USER, upload_id, {"delimiter": ","})
    first = upload.import_upload(services, LOCAL_USER, upload_id, {"prompt": "question;x", "completion": "answer;y"})
    second = versions.reread(services, LOCAL_USER, first.id, {"delimiter": ";"})
    assert second.report["columns"] == ["question", "x,answer", "y"] and set(second.mapping.values()) <= {
        "question", "x,answer", "y",
    }  # fmt: skip


def test_twice_the_same_examples_are_never_learnt_and_checked_with(services: Services, make: Any) -> None:
    orders, pears = make(), make(lines(("Hi?", "Ho, you"), ("Hm?", "Ho, me")), "pears.jsonl")
    mixed = versions.mix(services, LOCAL_USER, [(orders.id, 3, None), (pears.id, 1, None)], "thrice")
    with DataFile(services.artifacts.data_parquet(mixed.id)) as file:
        said = [example.answers[-1] for example in file.examples()]
        for seed in range(5):
            held = file.held_out(0.2, seed)
            assert held and {said[i] for i in held}.isdisjoint({said[i] for i in range(len(said)) if i not in held})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([(1.0, None)], "needs two different datasets"),
        ([(0.0, None), (1.0, None)], "A weight can not be 0"),
        ([(float("nan"), None), (1.0, None)], "A weight can not be nan"),
        ([(1.0, 0), (1.0, None)], "can not be 0"),
    ],
)
def test_a_mix_of_nothing_is_refused(services: Services, make: Any, parts: list[Any], words: str) -> None:
    ids = [make().id, make(lines(("a b c", "d e f")), "other.jsonl").id]
    with pytest.raises(Refused, match=words):
        versions.mix(services, LOCAL_USER, [(ids[i], *part) for i, part in enumerate(parts)], "x")


def test_a_dataset_goes_with_its_files_and_not_while_a_run_needs_it(services: Services, make: Any) -> None:
    first = make()
    folder = services.artifacts.dataset_dir(first.id)
    queue_run(services, first)
    with pytest.raises(Conflict, match="tuned still needs this dataset"):
        versions.delete(services, LOCAL_USER, first.dataset_id, sure=True)
    other = make(lines(("a b c", "d e f")), "other.jsonl")
    queue_run(services, other, "stopped")
    with pytest.raises(Conflict, match="1 run learnt from this dataset: tuned"):
        versions.delete(services, LOCAL_USER, other.dataset_id)
    versions.delete(services, LOCAL_USER, other.dataset_id, sure=True)
    assert folder.exists() and not services.artifacts.dataset_dir(other.id).exists()
    with pytest.raises(NotFound):
        services.datasets.get(other.dataset_id, LOCAL_USER)
    assert {run.dataset_name for run in services.runs.of(LOCAL_USER)} == {"orders.jsonl", "other.jsonl"}


def test_folders_that_no_dataset_needs_are_swept_and_others_stay(services: Services, make: Any) -> None:
    first = make()
    orphan = services.artifacts.dataset_dir(new_id())
    orphan.mkdir()
    storage.sweep_folders(services.artifacts.datasets_dir(), services.datasets.known)
    assert orphan.exists(), "young ones may be on their way into the records"
    storage.sweep_folders(services.artifacts.datasets_dir(), services.datasets.known, now=orphan.stat().st_mtime + 99)
    assert not orphan.exists() and services.artifacts.data_parquet(first.id).exists()


def test_a_version_of_an_older_studio_can_be_mended_too(services: Services, make: Any) -> None:
    first = make(ORDERS + ORDERS)
    (services.artifacts.dataset_dir(first.id) / "recipe.json").unlink()
    assert read_recipe(services, first).mapping == PAIR
    assert versions.repair(services, LOCAL_USER, first.id, TWICE).examples == 12


def test_another_persons_versions_are_not_there(services: Services, make: Any) -> None:
    first = make()
    for call in (
        lambda: versions.repair(services, "somebody", first.id, TWICE),
        lambda: versions.of(services, "somebody", first.dataset_id),
        lambda: versions.delete(services, "somebody", first.dataset_id),
        lambda: versions.mix(services, "somebody", [(first.id, 1, None), (new_id(), 1, None)], "x"),
    ):
        with pytest.raises(NotFound):
            call()
