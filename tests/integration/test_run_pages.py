"""The words and places of Home, Runs and Run, without a browser."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from studio.core.errors import Fault, Faults, NotFound, Refused
from studio.core.services import Services
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.pages import home, run, runs
from studio.ui import home_view, live, run_facts, run_view
from studio.ui.markup import Markup
from studio.ui.notices import fresh_notice, note_of, with_note
from tests.browser.seed import HOSTILE, seed


@pytest.fixture
def seeded(services: Services) -> dict[str, Run]:
    """Runs in every state."""
    return seed(services)


def test_the_chip_shows_the_run_that_trains_and_nothing_else(services: Services) -> None:
    assert live.chip(services, LOCAL_USER) is None
    found = seed(services)
    chip = live.chip(services, LOCAL_USER)
    assert chip is not None and chip.run_id == found["support-tone"].id
    assert chip.words.startswith("about ") and chip.words.endswith(" left")


def test_a_second_attempt_counts_its_own_pace_only(seeded: dict[str, Run]) -> None:
    running = dataclasses.replace(seeded["support-tone"], first_step_at=0.0, started_at=1000.0, step=10, steps=20)
    assert live.time_left(running, now=1100.0) == pytest.approx(100.0)
    assert live.time_left(dataclasses.replace(running, step=1), now=1100.0) is None


def test_a_live_run_is_never_shown_as_all_done(seeded: dict[str, Run]) -> None:
    finalizing = dataclasses.replace(seeded["support-tone"], state="finalizing", step=90, steps=90)
    assert live.share(finalizing) == 0.99
    assert live.share(seeded["orders-json"]) == 1.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("orders-json", "93% right, base 2%"),
        ("faq-bot", "Loss 1.92 to 0.41"),
        ("legal-first-try", "Out of memory at step 41 of 400."),
        ("recipes-fr", ""),
    ],
)
def test_a_result_is_told_in_a_few_words(seeded: dict[str, Run], name: str, words: str) -> None:
    assert live.result_words(seeded[name]) == words


def test_a_result_with_nan_or_nonsense_breaks_no_page(seeded: dict[str, Run]) -> None:
    strange: dict[str, Any] = {"base": {"loss": float("nan")}, "tuned": "?", "answers": [1, {}], "peak_rss_mb": "x"}
    odd = dataclasses.replace(seeded["orders-json"], result=strange, spec={"model": 3, "libraries": 4}, config={"x": 1})
    assert live.result_words(odd) == ""
    assert run_view.success_note(odd)
    assert run_facts.settings_card(odd, None, "")
    assert not run_facts.answers_card(odd)


def test_worse_than_the_base_model_is_said_as_such(seeded: dict[str, Run]) -> None:
    worse = {"base": {"loss": 1.0}, "tuned": {"loss": 2.0}}
    assert "Worse than the base model" in run_view.success_note(dataclasses.replace(seeded["faq-bot"], result=worse))


def test_every_run_draws_its_page_and_text_from_people_is_escaped(services: Services, seeded: dict[str, Run]) -> None:
    for name, one in seeded.items():
        words = " ".join(str(part) for part in run.drawn(run.look(services, LOCAL_USER, one.id)))
        assert str(Markup("{}").format(name)) in words
        assert "<img" not in words and "<b>for</b>" not in words


def test_a_run_of_another_person_is_not_to_be_seen(services: Services, seeded: dict[str, Run]) -> None:
    with pytest.raises(NotFound):
        run.look(services, "somebodyelse", seeded["haiku"].id)


def test_charts_are_read_again_only_when_something_was_measured(services: Services, seeded: dict[str, Run]) -> None:
    first, again = (run.look(services, LOCAL_USER, seeded["faq-bot"].id) for _ in range(2))
    assert first.curves is again.curves


def test_the_list_counts_and_filters(services: Services, seeded: dict[str, Run]) -> None:
    found = services.runs.of(LOCAL_USER)
    assert runs.counts(found) == "One trains, two wait, two want a look."
    assert runs.listing(found, "Finished").count("<tr>") == 1 + 3
    assert HOSTILE not in runs.listing(found, "All")
    assert "No runs yet" in runs.listing([], "All")
    assert "Nothing here" in runs.listing([seeded["haiku"]], "Going")


def test_home_says_what_is_going_on_in_words_and_numbers(services: Services, seeded: dict[str, Run]) -> None:
    found = services.runs.of(LOCAL_USER)
    assert "One run is training, two wait" in home_view.home_head(found)
    assert "Two runs wait" in home_view.home_head([seeded["recipes-fr"], seeded[HOSTILE]])
    assert "Nothing is running" in home_view.home_head([seeded["haiku"]])
    assert len(home.drawn(services, found)) == len(home.drawn(services, [seeded["haiku"]]))
    assert home.demo_words(services).startswith("Run the demo (about ")


def test_the_welcome_shows_a_real_held_out_example_of_the_starter_dataset() -> None:
    asked, answer = home.example()
    assert asked and set(json.loads(answer)) == {"items", "for", "pay"}


def test_only_places_that_changed_are_sent() -> None:
    *first, stamp = live.changed([Markup("a"), Markup("b")], "")
    assert first == ["a", "b"]
    assert live.changed([Markup("a"), Markup("b")], stamp) == [gr.skip(), gr.skip(), gr.skip()]
    one, two, new = live.changed([Markup("a"), Markup("c")], stamp)
    assert (one, two) == (gr.skip(), "c") and new != stamp


def test_a_log_is_shown_without_colours_paths_and_tricks(tmp_path: Path) -> None:
    text = f"\x1b[31mred\x1b[0m\x07 10%\r 20%\r\n{tmp_path}/models \u202eevil\x1b]0;title\x07\n"
    assert run_facts.clean(text, tmp_path) == " 20%\n<data dir>/models evil\n"
    path = tmp_path / "train.log"
    path.write_text("\n".join(str(i) for i in range(20_000)))
    assert run_facts.tail(path, tmp_path).splitlines() == [str(i) for i in range(19_960, 20_000)]
    assert run_facts.tail(tmp_path / "none", tmp_path) == ""


def test_errors_become_notes_and_bugs_become_a_short_id(caplog: pytest.LogCaptureFixture) -> None:
    assert "No &lt;b&gt;." in note_of(Refused("No <b>.", "Try c."))
    assert note_of(Faults([Fault("a", "One."), Fault("b", "Two.")])).count("ts-note--bad") == 2
    bug = note_of(RuntimeError("/secret/path"))
    assert "secret" not in bug and "Something went wrong (id " in bug
    assert "secret" in caplog.text


def test_a_handler_that_fails_leaves_the_form_as_it_is() -> None:
    def handler(text: str) -> tuple[str, str]:
        if not text:
            raise Refused("Empty.", "Type.")
        return text, text

    guarded = with_note(handler, 2)
    assert guarded("x") == ("x", "x", "")
    first, second, note = guarded("")
    assert (first, second) == (gr.skip(), gr.skip()) and "Empty." in note


def test_a_notice_is_shown_for_ten_minutes_on_one_line(tmp_path: Path) -> None:
    assert fresh_notice(tmp_path) == ""
    (tmp_path / "notice.json").write_text('{"at": 1000, "words": "It was\\n restarted."}')
    assert fresh_notice(tmp_path, now=1100) == "It was restarted."
    assert fresh_notice(tmp_path, now=1601) == ""
    (tmp_path / "notice.json").write_text("[")
    assert fresh_notice(tmp_path) == ""
