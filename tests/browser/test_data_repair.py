"""Data that is not perfect, in Chromium: odd columns, bad rows, findings, versions, a long import that is cancelled."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.core.stores.datasets import DatasetVersion
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases import versions
from tests.browser.conftest import Studio
from tests.browser.seed import HOSTILE
from tests.browser.tiny_studio import bring, drop, fits, tiny_studio, write_orders
from tests.integration.hub_orders import TOKEN, hub_of_orders

Open = Callable[..., Page]
CLICKS = "window.clicks = 0; addEventListener('click', e => { if (e.isTrusted) window.clicks += 1 }, true)"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with tiny_studio(tmp_path_factory.mktemp("repair") / "data") as studio:
        yield studio


def newest(studio: Studio, name: str) -> DatasetVersion:
    return next(one for one in studio.services.datasets.of(LOCAL_USER) if one.name == name)


def write_odd(folder: Path, rows: int = 30) -> Path:
    """A CSV with semicolons and column names that nobody could guess."""
    lines = ["kol_a;zzz;nr", *(f"How is the weather on day {i}?;It is {i} degrees and sunny;{i}" for i in range(rows))]
    path = folder / "odd.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_bad(folder: Path, name: str = "bad.csv") -> Path:
    """Thirty rows, twelve of which have a comma too many in the answer."""
    answers = [f"Sure, {i} it is" if i % 5 < 2 else f"Number {i} it is" for i in range(30)]
    path = folder / name
    path.write_text("question,answer\n" + "".join(f"Which one is it today {i}?,{a}\n" for i, a in enumerate(answers)))
    return path


def choose(page: Page, label: str, option: str) -> None:
    """Choose in the dropdown of that label which is shown."""
    page.get_by_label(label, exact=True).locator("visible=true").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_csv_with_two_odd_columns_is_queued_in_three_clicks(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    page = open_page(f"{tiny.url}/new")
    expect(page.get_by_text("The starter model. Already on this machine.")).to_be_visible()
    page.evaluate(CLICKS)
    drop(page, write_odd(tmp_path))  # the first click: choosing the file
    expect(page.get_by_text("odd.csv was read")).to_be_visible()
    expect(page.get_by_text("CSV, semicolons, UTF-8")).to_be_visible()
    expect(page.get_by_label("Asked", exact=True)).to_have_value("kol_a")
    expect(page.get_by_label("Learnt", exact=True)).to_have_value("zzz")
    expect(page.get_by_text("nr is not used")).to_be_visible()
    page.get_by_role("button", name="Use this file").click()
    expect(page.get_by_text("odd.csv is a dataset now")).to_be_visible()
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_enabled()
    start.click(no_wait_after=True)
    clicks = 1 + page.evaluate("window.clicks")
    page.wait_for_url("**/run?id=*")
    assert clicks == 3
    assert tiny.services.runs.of(LOCAL_USER)[-1].state == "queued"


def test_twelve_bad_rows_are_mended_by_one_click_and_the_difference_is_shown(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    page = open_page(f"{tiny.url}/new")
    expect(page.get_by_text("The starter model. Already on this machine.")).to_be_visible()
    drop(page, write_bad(tmp_path))
    expect(page.get_by_text("12 of 30 rows can not be used as they are")).to_be_visible()
    expect(page.get_by_text("Row 1 has 3 values, the header has 2.")).to_be_visible()
    expect(page.get_by_role("button", name="Use it without 12 rows")).to_be_visible()
    page.get_by_role("button", name="Mend 12 rows and go on").click()
    expect(page.get_by_text("bad.csv is a dataset now")).to_be_visible()
    expect(page.get_by_text("30 examples.")).to_be_visible()
    expect(page.get_by_text("12 rows mended.")).to_be_visible()
    assert "Sure, 0 it is" in page.locator(".ts-diff").inner_text()
    assert newest(tiny, "bad.csv").examples == 30


def test_bad_rows_can_be_left_out_or_the_file_let_go(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    page = open_page(f"{tiny.url}/datasets", width=390, dark=True)
    drop(page, write_bad(tmp_path, "other.csv"))
    mend = page.get_by_role("button", name="Mend 12 rows and go on")
    expect(mend).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(mend).not_to_be_visible()
    drop(page, write_bad(tmp_path, "other.csv"))
    expect(mend).to_be_visible()
    assert fits(page, 390)
    page.get_by_role("button", name="Use it without 12 rows").click()
    page.wait_for_url("**/datasets?id=*")
    expect(page.get_by_text("18 examples, 12 rows left out.")).to_be_visible()
    page.get_by_role("button", name="Mend 12 rows").click()
    expect(page.get_by_text("12 rows mended").first).to_be_visible()
    expect(page.get_by_text("30 examples.")).to_be_visible()


def test_a_finding_is_fixed_by_its_button_shown_as_a_difference_and_undone(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    lines = ["question,answer", *(f"What is the number of customer {i}?,It is {i * 37} of course" for i in range(20))]
    lines[4] = "Whom do I ask about it?,Write to maria.huber@webmail.at about it"
    lines += lines[6:8]
    path = tmp_path / "people.csv"
    path.write_text("\n".join(lines) + "\n")
    version = bring(tiny.services, path, {"prompt": "question", "completion": "answer"})
    page = open_page(f"{tiny.url}/datasets?id={version.dataset_id}")
    expect(page.get_by_text("1 row holds personal data")).to_be_visible()
    expect(page.get_by_text("2 rows are there twice")).to_be_visible()
    page.get_by_role("link", name="Show the example of row 4", exact=True).click()
    page.wait_for_url("**example=4")
    expect(page.get_by_text("Example 4 of 22, row 4 of the file")).to_be_visible()
    page.get_by_role("button", name="Mask them").click()
    expect(page.get_by_text("Personal data masked in 1 row").first).to_be_visible()
    assert page.locator(".ts-diff del").inner_text().count("maria.huber@webmail.at") == 1
    assert "[email]" in page.locator(".ts-diff ins").inner_text()
    page.get_by_role("button", name="Keep one of each").click()
    expect(page.get_by_text("2 rows left out: there twice").first).to_be_visible()
    expect(page.get_by_text("Version 3, shown here")).to_have_count(0)  # the mark is drawn by the stylesheet
    expect(page.get_by_role("link", name="Version 3")).to_have_attribute("aria-current", "page")
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_text("2 rows are there twice")).to_be_visible()
    expect(page.get_by_text("Example 1 of 22").or_(page.get_by_text("Example 4 of 22"))).to_be_visible()
    again = tiny.services.datasets.get(version.dataset_id, LOCAL_USER)
    assert [step["kind"] for step in again.report["steps"]] == ["personal_data"]


def test_a_row_too_long_for_the_model_is_left_out_by_its_button_and_undone(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    rows = [{"question": f"How is the weather on day {i}?", "answer": f"It is {i} degrees"} for i in range(12)]
    rows[4]["answer"] = "One way leads north, another east, the third nowhere at all. " * 12
    path = tmp_path / "long-one.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    version = bring(tiny.services, path, {"prompt": "question", "completion": "answer"})
    page = open_page(f"{tiny.url}/datasets?id={version.dataset_id}")
    longest = page.get_by_label("Cut at")
    expect(page.get_by_text("none would be cut")).to_be_visible()
    longest.fill("200")
    expect(page.get_by_text("1 row is too long")).to_be_visible()
    expect(page.get_by_text("Nothing was found")).not_to_be_visible()
    finding = page.locator(".ts-finding", has_text="1 row is too long")
    finding.get_by_role("button", name="Leave out 1 row").click()
    expect(page.get_by_text("1 row left out: too long").first).to_be_visible()
    expect(page.get_by_text("11 examples")).not_to_have_count(0)
    expect(page.get_by_text("1 row is too long")).not_to_be_visible()
    step = tiny.services.datasets.get(version.dataset_id, LOCAL_USER).report["steps"][0]
    assert (step["kind"], step["max_length"], step["rows"]) == ("too_long", 200, [5])
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 row is too long")).to_be_visible()
    assert tiny.services.datasets.get(version.dataset_id, LOCAL_USER).id == version.id


def test_a_text_is_read_as_a_whole_and_as_paragraphs_again(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "tale.txt"
    path.write_text("\n\n".join(f"Chapter {i}. They went on and on over hills and far away." for i in range(6)))
    version = bring(tiny.services, path, {"text": "text"})
    page = open_page(f"{tiny.url}/datasets?id={version.dataset_id}", width=390)
    expect(page.get_by_role("link", name="Version 1")).to_be_visible()
    drawer = page.locator(".ts-drawer", has_text="Read it differently")
    drawer.get_by_role("button", name="Read it differently").click()
    expect(drawer.get_by_label("Between columns stands")).not_to_be_visible()
    choose(page, "Each example is", "The whole file")
    assert fits(page, 390)
    drawer.get_by_role("button", name="Read it again").click()
    expect(page.get_by_role("link", name="Version 2")).to_have_attribute("aria-current", "page")
    whole = newest(tiny, "tale.txt")
    assert (whole.number, whole.examples) == (2, 1)
    expect(drawer.get_by_label("Each example is")).to_have_value("The whole file")
    choose(page, "Each example is", "A paragraph")
    drawer.get_by_role("button", name="Read it again").click()
    expect(page.get_by_role("link", name="Version 3")).to_have_attribute("aria-current", "page")
    assert newest(tiny, "tale.txt").examples == 6
    drawer.get_by_role("button", name="Read it again").click()
    expect(page.get_by_text("It is read so already.")).to_be_visible()


def test_a_dropped_file_is_read_again_with_another_delimiter(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    page = open_page(f"{tiny.url}/datasets")
    drop(page, write_bad(tmp_path, "parted.csv"))
    expect(page.get_by_role("button", name="Mend 12 rows and go on")).to_be_visible()
    page.get_by_role("button", name="Read it differently").first.click()
    choose(page, "Between columns stands", "Semicolon")
    page.get_by_role("button", name="Read it again").first.click()
    expect(page.get_by_text("CSV, semicolons, UTF-8")).to_be_visible()
    expect(page.get_by_role("button", name="Mend 12 rows and go on")).not_to_be_visible()
    expect(page.get_by_label("Between columns stands").first).to_have_value("Semicolon")
    choose(page, "Between columns stands", "Found by itself")
    page.get_by_role("button", name="Read it again").first.click()
    expect(page.get_by_role("button", name="Mend 12 rows and go on")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Read it differently")).not_to_be_visible()


def test_a_newer_file_becomes_the_next_version_with_the_difference_and_another_is_checked_with(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    path = write_orders(tmp_path, rows=20, name="till.csv")
    mapping = {"prompt": "spoken", "completion": "order_json"}
    version = bring(tiny.services, path, mapping)
    page = open_page(f"{tiny.url}/datasets?id={version.dataset_id}")
    page.get_by_role("button", name="A newer file").click()
    drop(page, write_orders(tmp_path, rows=30, name="till.csv"), "A newer file")
    expect(page.get_by_text("A newer file, till.csv. 9 new, 18 the same.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("till.csv")
    page.get_by_role("button", name="Check with a file of its own").click()
    drop(page, write_orders(tmp_path, rows=10, name="check.csv"), "Check with a file of its own")
    expect(page.get_by_text("9 of them held out to check")).to_be_visible()
    assert [one.number for one in versions.of(tiny.services, LOCAL_USER, version.dataset_id)] == [3, 2, 1]
    page.get_by_role("link", name="Version 1", exact=True).click()
    expect(page.get_by_text("This is version 1.")).to_be_visible()
    page.get_by_role("link", name="Go to the newest").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url(f"{tiny.url}/datasets")
    assert version.dataset_id not in {one.dataset_id for one in tiny.services.datasets.of(LOCAL_USER)}


def test_a_long_import_is_cancelled_and_nothing_is_left_of_it(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    row = {"question": "Which way is it from here to there?", "answer": "Straight on, then left. " * 20}
    with path.open("w") as out:
        for i in range(120_000):
            out.write(json.dumps({**row, "number": i}) + "\n")
    before = len(tiny.services.datasets.of(LOCAL_USER))
    page = open_page(f"{tiny.url}/datasets")
    expect(page.get_by_role("heading", name="A new dataset")).to_be_visible()
    drop(page, path)
    expect(page.get_by_text("rows read")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.", exact=True)).to_be_visible()
    expect(page.get_by_role("progressbar")).not_to_be_visible()
    assert len(tiny.services.datasets.of(LOCAL_USER)) == before


def test_names_and_cells_that_look_like_markup_are_shown_letter_by_letter(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    name = "<img src=x onerror=alert(1)>"
    rows = [{f"{name} a": f"{HOSTILE} number {i}", f"{name} b": f"{HOSTILE} is what {i} is", "c": i} for i in range(12)]
    path = tmp_path / "<svg onload=alert(1)>.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken <b>row</b>\n")
    page = open_page(f"{tiny.url}/datasets", width=390)
    drop(page, path)
    expect(page.get_by_text("<svg onload=alert(1)>.jsonl was read")).to_be_visible()
    expect(page.get_by_text(f"{name} a").first).to_be_visible()
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert fits(page, 390)
    page.get_by_role("button", name="Use this file").click()
    expect(page.get_by_text("1 of 13 lines can not be used")).to_be_visible()
    page.get_by_role("button", name="Use it without 1 row").click()
    page.wait_for_url("**/datasets?id=*")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert page.locator("img, svg[onload]").count() == 0
    assert fits(page, 390)


def test_two_datasets_are_mixed_into_a_third(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    mapping = {"prompt": "spoken", "completion": "order_json"}
    for name, rows in (("one.csv", 20), ("two.csv", 30)):
        bring(tiny.services, write_orders(tmp_path, rows=rows, name=name), mapping)
    page = open_page(f"{tiny.url}/datasets")
    page.get_by_role("button", name="Mix several datasets").click()
    for place, name in ((1, "one.csv"), (2, "two.csv")):
        page.get_by_label(f"Dataset {place}").click()
        option = page.get_by_role("option", name=name)
        expect(option).to_have_count(1)  # the list before has closed
        option.click()
    page.get_by_label("At most").nth(1).fill("ten")
    page.get_by_role("button", name="Mix them").click()
    expect(page.get_by_text("The most that are taken can not be 'ten'.")).to_be_visible()
    page.get_by_label("At most").nth(1).fill("10")
    page.get_by_label("Name").fill("both")
    page.get_by_role("button", name="Mix them").click()
    page.wait_for_url("**/datasets?id=*")
    expect(page.get_by_role("heading", level=1)).to_have_text("both")
    expect(page.get_by_text("28 examples.")).to_be_visible()
    expect(page.get_by_text("weight 1, at most 10 taken")).to_be_visible()


def test_a_gated_dataset_of_the_hub_is_brought_with_a_token_that_is_kept_nowhere(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    with hub_of_orders(monkeypatch) as hub, tiny_studio(data, HF_ENDPOINT=hub.address, HF_HUB_OFFLINE="0") as studio:
        page = open_page(f"{studio.url}/datasets")
        page.get_by_role("button", name="From the Hub").click()
        page.get_by_label("Dataset id").fill("acme/gated")
        page.get_by_role("button", name="Look it up").click()
        expect(page.get_by_text("its owner asks for an agreement first")).to_be_visible()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Look it up").click()
        expect(page.get_by_label("Learn from")).to_have_value("train")
        expect(page.get_by_label("Check with")).to_have_value("validation")
        expect(page.get_by_text("Asked in the first row: Question 0")).to_be_visible()
        expect(page.get_by_text("completion is learnt")).to_be_visible()
        page.get_by_role("button", name="Bring it here").click()
        page.wait_for_url("**/datasets?id=*")
        expect(page.get_by_text("170 examples, 20 of them held out to check.")).to_be_visible()
        expect(page.get_by_text("acme/gated").first).to_be_visible()
        page.context.close()
        kept = [path for path in data.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
        assert kept == []
