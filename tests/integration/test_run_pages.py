"""The words and places of Home, Runs and Run, without a browser."""

import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from studio.core.errors import Fault, Faults, NotFound, Refused
from studio.core.services import Services
from studio.core.states import State
from studio.core.stores.runs import Run
from studio.core.stores.series import Sample
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.storage import Storage
from studio.pages import home, run, runs
from studio.ui import home_view, line_view, live, run_curves, run_facts, run_view
from studio.ui.markup import Markup
from studio.ui.notices import fresh_notice, note_of, with_note
from studio.ui.run_buttons import DiskCard, has_better
from studio.ui.samples_view import samples_card
from tests.browser.seed import HOSTILE, Wish, add_dataset, make, seed


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


def test_a_run_that_trained_the_whole_model_is_tried_and_downloaded_but_not_trained_further(
    seeded: dict[str, Run],
) -> None:
    lora = seeded["faq-bot"]
    whole = dataclasses.replace(lora, state="succeeded", config={"adapter": {"tuner": "full"}})
    words = run_view.run_links(whole, True, False)
    assert "Try it" in words and "Download model" in words and "Train further" not in words


def test_a_run_of_another_person_is_not_to_be_seen(services: Services, seeded: dict[str, Run]) -> None:
    with pytest.raises(NotFound):
        run.look(services, "somebodyelse", seeded["haiku"].id)


def test_charts_are_read_again_only_when_something_was_measured(services: Services, seeded: dict[str, Run]) -> None:
    first, again = (run.look(services, LOCAL_USER, seeded["faq-bot"].id) for _ in range(2))
    assert first.curves is again.curves


def test_the_list_counts_and_filters(services: Services, seeded: dict[str, Run]) -> None:
    found = services.runs.of(LOCAL_USER)
    line = live.line(services, found)
    assert runs.counts(found) == "One trains, three wait, two want a look."
    assert runs.listing(found, "Finished", line).count("<tr>") == 1 + 3
    assert HOSTILE not in runs.listing(found, "All", line)
    assert "No runs yet" in runs.listing([], "All", line)
    assert "Nothing here" in runs.listing([seeded["haiku"]], "Going", line)


def test_home_says_what_is_going_on_in_words_and_numbers(services: Services, seeded: dict[str, Run]) -> None:
    found = services.runs.of(LOCAL_USER)
    assert "One run is training, three wait" in home_view.home_head(found)
    assert "Two runs wait" in home_view.home_head([seeded["recipes-fr"], seeded[HOSTILE]])
    assert "Nothing is running" in home_view.home_head([seeded["haiku"]])
    assert len(home.drawn(services, found)) == len(home.drawn(services, [seeded["haiku"]]))
    assert home.demo_words(services).startswith("Run the demo (about ")


def test_a_waiting_run_says_what_it_waits_for(seeded: dict[str, Run]) -> None:
    now = time.mktime((2026, 3, 2, 14, 0, 0, 0, 0, -1))
    before, mine = seeded["recipes-fr"], seeded[HOSTILE]

    def said(paused: bool = False, **columns: object) -> str:
        run = dataclasses.replace(mine, **columns)  # type: ignore[arg-type]
        return line_view.wait_words(run, line_view.line_of([before, run], paused, True, now))

    assert said() == "Starts about 14:07"
    assert said(held=True) == "Held"
    assert said(paused=True) == "When the queue is resumed"
    assert said(not_before=now + 600) == "Tries again about 14:10"
    assert said(after_run_id=before.id) == "After recipes-fr, about 14:07"
    assert said(after_run_id="one that has ended") == "Starts about 14:07"
    nobody = line_view.line_of([before, mine], False, can_start=False, now=now)
    assert line_view.wait_words(mine, nobody) == "Place 2 in line"
    assert line_view.soon(now + 86400, now) == "14:00 tomorrow"


def test_a_run_that_was_cut_off_shows_where_it_goes_on_and_counts_the_pace_of_this_attempt(
    seeded: dict[str, Run],
) -> None:
    first = seeded["support-tone"]
    again = dataclasses.replace(first, resume_step=40, step=50, steps=90, first_step_at=1000.0, started_at=990.0)
    assert live.time_left(again, now=1100.0) == pytest.approx(400.0)
    figures = dict(run_view.progress_figures(again, {name: [] for name in run_curves.METRICS}, (0, 0)))
    assert figures["Goes on from"] == "step 40" and str(figures["Last checkpoint"]).startswith("step 50, ")
    saved = dataclasses.replace(first, checkpoint_at=1000.0)
    assert line_view.checkpoint_words(saved, now=1125.0) == "step 50, 2 min ago"
    assert "It goes on from step 50, saved " in line_view.goes_on_words(saved)


def test_a_queued_run_says_what_keeps_the_whole_line_back(seeded: dict[str, Run]) -> None:
    run = seeded["recipes-fr"]
    line = line_view.line_of([run], True, True)
    room = ("Only 1 MiB are free.", "Make room.")
    words = line_view.waiting_note(dataclasses.replace(run, held=True), line, True, room)
    assert "The queue is paused" in words and "Only 1 MiB are free." in words and "Held back" in words
    assert "No worker is running" in line_view.waiting_note(run, line, False, None)


def test_what_a_run_takes_on_the_disk_is_said_and_its_checkpoints_go_only_after_its_end(
    seeded: dict[str, Run],
) -> None:
    storage = Storage(adapter=2_000_000, checkpoints=180_000_000, rest=4_000)
    _, words, clean = DiskCard.drawn(seeded["haiku"], storage)
    assert "182 MB" in words and "2.0 MB" in words
    assert clean["visible"] and clean["value"] == "Remove checkpoints (180 MB)"
    assert not DiskCard.drawn(seeded["support-tone"], storage)[2]["visible"]


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


def curve_run(services: Services, name: str, state: State, **more: Any) -> Run:
    """A run of 120 steps that learns by heart from the middle on."""
    wish = Wish(name, state, 120 if state == "succeeded" else 100, 120, overfits=True, **more)
    return make(services, wish, add_dataset(services))


def test_an_overfitting_run_says_so_and_offers_to_keep_the_best_once_it_has_ended(services: Services) -> None:
    for state in ("running", "succeeded"):
        one = curve_run(services, state, state)  # type: ignore[arg-type]
        seen = run.look(services, LOCAL_USER, one.id)
        words = " ".join(str(part) for part in run.drawn(seen))
        assert "Overfitting since step 48" in str(run.alarm_words(seen)) and "is the better one" in words
        assert ("Retry with the best kept" in words) is (state == "succeeded")
        told = [event.kind for event in services.runs.events(one.id, LOCAL_USER)]
        assert told.count("alarm:overfitting") == 1


def test_stop_and_keep_the_best_is_offered_while_the_best_check_lies_behind(services: Services) -> None:
    one = curve_run(services, "behind", "running")
    seen = run.look(services, LOCAL_USER, one.id)
    offered = [part for part in run.drawn(seen) if "Stop and keep the best (step 48)" in str(part)]
    assert [part["visible"] for part in offered] == [True]
    keeps_it = {"training": {"load_best_model_at_end": True}}
    for other, best in ((one, 100), (one, 0), (dataclasses.replace(one, config=keeps_it), 48),
                        (dataclasses.replace(one, state="stopping"), 48)):  # fmt: skip
        assert not has_better(other, best)


def test_a_run_that_diverged_does_not_say_it_twice(services: Services, seeded: dict[str, Run]) -> None:
    one = curve_run(services, "broke", "failed", reason="diverged", problem="The loss became nan.", remedy="Calmer.")
    seen = run.look(services, LOCAL_USER, one.id)
    assert not run.alarm_words(seen) and "Retry with a learning rate of 5e-05" in str(run.drawn(seen))


def test_all_series_have_a_chart_with_its_unit_and_its_table(services: Services) -> None:
    loss, small = run.look(services, LOCAL_USER, curve_run(services, "charts", "running").id).curves.charts
    titles = re.findall(r"<h2>(.*?)</h2>", loss + small)
    units = ("tokens/s", "%", "× 0.0001", "% of all that is read", "% of the time", "GiB")
    assert len(titles) == 9 and all(any(f"<small>{unit}<" in title for title in titles) for unit in units)
    assert (loss + small).count('<table class="ts-numbers">') == 9
    assert "How the machine is used" in small
    assert run_curves.machine({name: [] for name in run_curves.METRICS}, 0) == ""


def test_answers_on_the_way_stand_once_as_long_as_they_stay_the_same() -> None:
    said = {0: "Sure!", 10: "Sure!", 20: '{"a": 1}', 30: "right", 40: "right"}
    drawn = samples_card({step: [Sample("<b>ask</b>", "right", text)] for step, text in said.items()})
    labels = re.findall(r"<li[^>]*><span>(.*?)</span>", drawn)
    assert labels == ["Base model to step 10", "Step 20", "Steps 30 to 40", "Expected"]
    assert drawn.count("as expected") == 1 and "<b>ask" not in drawn
    assert samples_card({}) == ""
