"""New run in Chromium: a file, its mapping, Start; and everything that is refused leaves the form as it was."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from studio.core.stores.users import LOCAL_USER
from studio.ui.model_card import LABEL
from tests.browser.conftest import Studio
from tests.browser.tiny_studio import accept, add_orders, drop, fits, tiny_studio, write_orders

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with tiny_studio(tmp_path_factory.mktemp("new") / "data") as studio:
        yield studio


def runs(studio: Studio) -> int:
    return len(studio.services.runs.of(LOCAL_USER))


def ready(page: Page) -> Page:
    """The page once its first values are in."""
    expect(page.get_by_text("The starter model. Already on this machine.")).to_be_visible()
    return page


def test_a_file_its_mapping_and_start_are_three_clicks_to_one_queued_run(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    before = runs(tiny)
    page = ready(open_page(f"{tiny.url}/new"))
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_disabled()
    expect(page.get_by_text("Start waits for a dataset.")).to_be_visible()
    drop(page, write_orders(tmp_path))
    expect(page.get_by_text("4 of 40 rows can not be used as they are")).to_be_visible()
    accept(page)
    expect(page.get_by_text("Read as Question and answer: CSV, commas, UTF-8.")).to_be_visible()
    expect(page.get_by_text("order_json is learnt")).to_be_visible()
    expect(page.get_by_text("36 examples. 4 rows left out.")).to_be_visible()
    expect(page.get_by_text("4 held out to check")).to_be_visible()
    expect(page.get_by_text("Learnt tokens")).to_be_visible()
    expect(start).to_be_enabled()
    start.dblclick()
    page.wait_for_url("**/run?id=*")
    assert runs(tiny) == before + 1
    run = tiny.services.runs.of(LOCAL_USER)[-1]
    assert (run.name, run.state, run.dataset_name) == ("orders.csv", "queued", "orders.csv")


def test_wrong_settings_are_all_named_at_once_and_nothing_is_queued(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    version = add_orders(tiny.services, tmp_path)
    before = runs(tiny)
    page = ready(open_page(f"{tiny.url}/new?dataset={version.dataset_id}"))
    start = page.get_by_role("button", name="Start", exact=True)
    expect(start).to_be_enabled()
    page.get_by_text("Every setting").click()
    page.get_by_label("Learning rate").fill("1000000000")
    page.get_by_label("Adapter rank").fill("2.5")
    panel = page.locator(".ts-sticky")
    expect(panel.get_by_text("Learning rate can not be 1000000000")).to_be_visible()
    expect(panel.get_by_text("Adapter rank can not be 2.5.")).to_be_visible()
    expect(page.get_by_text("Every setting · 2 to mend")).to_be_visible()
    expect(start).to_be_disabled()
    expect(page.get_by_text("Start waits until 2 things are mended.")).to_be_visible()
    page.get_by_label("Adapter rank").fill("4096")
    page.get_by_label("Learning rate").fill("0.001")
    expect(panel.get_by_text("Adapter rank can not be 4096.")).to_be_visible()
    page.get_by_label("Adapter rank").fill("8")
    expect(start).to_be_enabled()
    assert runs(tiny) == before


def test_a_learning_rate_that_is_no_number_by_direct_call_is_refused(tiny: Studio, tmp_path: Path) -> None:
    version = add_orders(tiny.services, tmp_path)
    before = runs(tiny)
    with httpx.Client(base_url=tiny.url, trust_env=False, timeout=30) as http:
        config = json.loads(http.get("/new").text.split("window.gradio_config = ", 1)[1].split(";</script>", 1)[0])
        names = {part["id"]: part["props"].get("label") for part in config["components"]}
        call = next(one for one in config["dependencies"] if "Learning rate" in map(names.get, one["inputs"])
                    and "Starts" in map(names.get, one["inputs"]))  # fmt: skip
        defaults = {part["id"]: part["props"].get("value") for part in config["components"]}
        wrong = {
            "Learning rate": float("nan"),
            "From your datasets": version.id,
            LABEL: "HuggingFaceTB/SmolLM2-135M-Instruct",
        }
        data = [wrong.get(str(names[i]), defaults[i]) for i in call["inputs"]]
        body = json.dumps({"data": data, "fn_index": call["id"], "session_hash": "direct"})
        sent = http.post("/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"})
        assert sent.is_success
        said = http.get("/gradio_api/queue/data", params={"session_hash": "direct"}).text
        assert "Learning rate can not be nan" in said
    assert runs(tiny) == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(100), "is an image (PNG)"),
        ("empty.csv", b"", "is empty"),
    ],
)
def test_a_wrong_file_is_refused_in_words_and_the_form_stays(
    tiny: Studio, open_page: Open, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    before = len(tiny.services.datasets.of(LOCAL_USER))
    page = ready(open_page(f"{tiny.url}/new"))
    page.get_by_label("Name").fill("kept")
    path = tmp_path / name
    path.write_bytes(content)
    drop(page, path)
    expect(page.get_by_text(words).first).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("kept")
    expect(page.get_by_role("button", name="Use this file")).not_to_be_visible()
    assert len(tiny.services.datasets.of(LOCAL_USER)) == before


def test_a_kind_that_lacks_a_column_asks_for_one(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    page = ready(open_page(f"{tiny.url}/new"))
    path = tmp_path / "one.csv"
    path.write_text("anything\nhello there\nworld of wonders\n")
    drop(page, path)
    page.get_by_label("What it is").click()
    page.get_by_role("option", name="Question and answer").click()
    expect(page.get_by_label("Asked", exact=True)).to_have_value("anything")
    page.get_by_role("button", name="Use this file").click()
    expect(page.get_by_text("No column is chosen for Learnt.")).to_be_visible()
    expect(page.get_by_role("button", name="Use this file")).to_be_visible()


def test_an_unknown_model_is_named_and_start_says_why_it_is_off(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    version = add_orders(tiny.services, tmp_path)
    page = ready(open_page(f"{tiny.url}/new?dataset={version.id}"))
    model = page.get_by_label(LABEL)
    model.fill("no such model")
    model.press("Enter")
    expect(page.get_by_text("No model called 'no such model'.")).to_be_visible()
    expect(page.get_by_text("Start waits for a base model.")).to_be_visible()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()


def test_a_run_can_be_had_again_with_its_own_settings(server: Studio, open_page: Open) -> None:
    run = server.runs["orders-json"]
    page = open_page(f"{server.url}/new?from={run.id}")
    expect(page.get_by_label("Name")).to_have_value("orders-json-2")
    expect(page.get_by_label("From your datasets")).to_have_value("orders.jsonl (360 examples)")
    page.get_by_text("Every setting").click()
    page.get_by_text("Checks and stopping").click()
    expect(page.get_by_label("Answer held-out examples")).to_be_checked()
    expect(page.get_by_text("As orders-json.")).to_be_visible()
    page.get_by_label("Learning rate").first.fill("0.0001")
    expect(page.get_by_role("button", name="Learning rate 0.0002 → 0.0001")).to_be_visible()
    expect(page.get_by_text("As orders-json, with 1 change.")).to_be_visible()


def test_an_unknown_run_in_the_address_is_said_and_the_form_has_its_defaults(tiny: Studio, open_page: Open) -> None:
    page = ready(open_page(f"{tiny.url}/new?from=nonesuch"))
    expect(page.get_by_text("There is no such run.")).to_be_visible()
    page.get_by_text("Every setting").click()
    expect(page.get_by_label("Epochs")).to_have_value("3")


def test_a_preset_sets_fields_a_change_is_named_and_can_be_taken_back(
    tiny: Studio, open_page: Open, tmp_path: Path
) -> None:
    version = add_orders(tiny.services, tmp_path)
    page = ready(open_page(f"{tiny.url}/new?dataset={version.dataset_id}"))
    page.get_by_text("Every setting").click()
    page.get_by_label("Thorough").check()
    expect(page.get_by_label("Adapter rank")).to_have_value("32")
    page.get_by_label("Adapter rank").fill("8")
    expect(page.get_by_text("Thorough, with 1 change.")).to_be_visible()
    page.get_by_role("button", name="Back to Thorough").click()
    expect(page.get_by_label("Adapter rank")).to_have_value("32")
    expect(page.get_by_role("button", name="Back to Thorough")).not_to_be_visible()
    page.get_by_text("Method", exact=True).first.click()
    expect(page.get_by_label("What is learnt")).to_be_visible()
    expect(page.get_by_label("Loss of comparisons")).not_to_be_visible()


def test_a_pasted_config_fills_the_form_or_every_fault_is_named(tiny: Studio, open_page: Open) -> None:
    page = ready(open_page(f"{tiny.url}/new"))
    page.get_by_text("As a file (YAML)").click()
    expect(page.get_by_text("repo: HuggingFaceTB/SmolLM2-135M-Instruct  # Base model")).to_be_visible()
    paste, use = page.get_by_label("Or paste one here"), page.get_by_role("button", name="Use what is pasted")
    paste.fill("adapter:\n  r: 4096\n  rank: 3\n")
    use.click()
    expect(page.get_by_text("Line 2: Adapter rank can not be 4096.")).to_be_visible()
    expect(page.get_by_text("Line 3: There is no setting called 'adapter.rank'.")).to_be_visible()
    paste.fill("name: mine\nadapter:\n  r: 12\n")
    use.click()
    expect(page.get_by_label("Name")).to_have_value("mine")
    expect(page.get_by_text("r: 12  # Adapter rank, usually 16")).to_be_visible()


def test_the_page_fits_a_phone_in_the_dark(tiny: Studio, open_page: Open) -> None:
    page = ready(open_page(f"{tiny.url}/new", width=390, dark=True))
    page.get_by_text("Every setting").click()
    assert fits(page, 390)


def test_what_this_run_is_taught_follows_the_form(tiny: Studio, open_page: Open, tmp_path: Path) -> None:
    version = add_orders(tiny.services, tmp_path)
    page = ready(open_page(f"{tiny.url}/new?dataset={version.dataset_id}"))
    page.get_by_role("button", name="What this run is taught").click()
    drawer = page.locator(".ts-drawer", has_text="What this run is taught")
    expect(drawer.get_by_text("Example 1 of 36, the model's own template")).to_be_visible()
    expect(drawer.get_by_text("<|im_start|>").first).to_be_visible()
    page.get_by_role("button", name="Every setting").click()
    page.get_by_label("Longest example").fill("16")
    expect(drawer.get_by_text("cut here")).to_be_visible()
    drawer.get_by_role("button", name="Next").click()
    expect(drawer.get_by_text("Example 2 of 36")).to_be_visible()
