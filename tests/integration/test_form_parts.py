"""The parts of New run, Datasets and Playground that need no browser: words, orders, mappings, markup."""

from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.catalog import STARTER_REPO
from studio.core.config import Knob, knobs, parse_config
from studio.core.errors import Faults, NotFound
from studio.core.estimate import plan
from studio.core.services import Services
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.forecast import Forecast
from studio.ui import chat_view, run_form
from studio.ui.fields import bounds_of, empty_faults, help_of, nested, step_of, values_of
from studio.ui.models import size_words
from studio.ui.outlook import drawn, outlook, warnings
from studio.ui.tokens import histogram, ticked, token_view
from tests.integration.records import add_dataset, add_run

DEFAULTS = tuple(values_of(run_form.KNOBS, {}))


def knob(path: str) -> Knob:
    return next(one for one in knobs() if one.path == path)


def test_the_help_of_a_field_has_its_unit_its_name_and_its_bounds() -> None:
    assert help_of(knob("adapter.r")) == "Higher can learn more, costs memory and a little speed (r). 1 to 512."
    assert help_of(knob("training.max_length")).startswith("In tokens. ")
    assert "(learning_rate)" in help_of(knob("training.learning_rate"))
    assert bounds_of(knob("training.learning_rate")) == "Above 0, at most 0.1"
    assert bounds_of(knob("adapter.target_modules")) == ""
    assert not help_of(knob("training.logging_steps")).startswith("In steps")


def test_an_arrow_key_moves_a_number_by_its_own_size() -> None:
    assert step_of(knob("training.learning_rate")) == pytest.approx(1e-4)
    assert step_of(knob("adapter.r")) == 1
    assert step_of(knob("adapter.lora_dropout")) == 0.05


def test_the_values_of_the_form_are_the_config_again() -> None:
    raw = run_form.raw_config(STARTER_REPO, DEFAULTS)
    assert parse_config(raw) == parse_config({})
    assert values_of(run_form.KNOBS, raw) == list(DEFAULTS)
    assert nested(run_form.KNOBS[:1], ["x"]) == {"base": {"revision": "x"}}


def test_every_wiped_number_is_named() -> None:
    wiped = [None] * len(DEFAULTS)
    assert len(empty_faults(run_form.KNOBS, wiped)) == len(DEFAULTS)
    with pytest.raises(Faults, match="is empty"):
        run_form.raw_config(STARTER_REPO, wiped)


def test_the_same_form_of_the_same_load_is_the_same_order_and_a_changed_one_is_not() -> None:
    first = run_form.order_of("key", "a", STARTER_REPO, "v", DEFAULTS)
    assert run_form.order_of("key", "a", STARTER_REPO, "v", DEFAULTS) == first
    assert run_form.order_of("key", "b", STARTER_REPO, "v", DEFAULTS).idempotency_key != first.idempotency_key
    assert run_form.order_of("other", "a", STARTER_REPO, "v", DEFAULTS).idempotency_key != first.idempotency_key
    assert run_form.order_of("", "a", STARTER_REPO, "v", DEFAULTS).idempotency_key is None


@pytest.mark.parametrize(("name", "following"), [("a", "a-2"), ("a-2", "a-3"), ("a-99999", "a-99999-2"), ("", "-2")])
def test_a_run_had_again_gets_the_next_name(name: str, following: str) -> None:
    assert run_form.next_name(name) == following


def test_first_values_come_from_a_run_or_a_dataset_of_the_person_alone(services: Services) -> None:
    run = add_run(services, "mine")
    filled = run_form.first_values(services, LOCAL_USER, run.id, "")
    assert (filled.repo, filled.name, filled.version_id) == ("repo", "mine-2", run.dataset_version_id)
    other = run_form.first_values(services, "somebody", run.id, run.dataset_id)
    assert isinstance(other.problem, NotFound)
    assert (other.repo, other.version_id, other.settings) == (STARTER_REPO, None, DEFAULTS)
    assert run_form.first_values(services, LOCAL_USER, "", run.dataset_id).version_id == run.dataset_version_id


def test_a_run_had_again_is_pinned_to_its_commit_only() -> None:
    assert run_form.pinned({"revision": "main"}, "a" * 40)["revision"] == "a" * 40
    assert run_form.pinned({"revision": "main"}, "local")["revision"] == "main"


def test_start_waits_for_a_dataset_and_names_what_is_wrong(services: Services) -> None:
    seen = outlook(services, LOCAL_USER, {"training": {"learning_rate": float("nan")}}, None, None)
    assert not seen.may_start
    assert "Learning rate can not be nan" in seen.panel
    assert "Start waits for a base model" in outlook(services, LOCAL_USER, {}, None, None).why


def test_warnings_say_what_is_lost() -> None:
    counts = {"cut": 3, "cut_tokens": 40, "longest": 700, "nothing_learnt": 1, "no_end": 2, "refused": 0}
    words = warnings(counts, 512)
    assert "3 examples longer than 512 tokens" in words
    assert "1 example with nothing to learn" in words
    assert "2 answers without a learnt end" in words
    assert warnings({}, 512) == ""


@pytest.mark.parametrize(("steps", "said"), [(6, True), (10, False)])
def test_a_run_of_few_steps_is_said_before_it_starts(steps: int, said: bool) -> None:
    planned = plan(parse_config({"training": {"max_steps": steps}}).training, 100, 10, 900)
    panel = drawn(planned, Forecast(planned, {"learnt": 300}, None, ()), parse_config({}))
    assert ("Only 6 steps in all" in panel) is said


def preview(**more: Any) -> dict[str, Any]:
    token = {"text": "<b>\n", "learnt": True, "special": False, "role_mark": False}
    mark = {"text": "<|im_end|>", "learnt": True, "special": True, "role_mark": False}
    turn = {"role": "assistant", "learnt": True, "tokens": [token, mark]}
    return {"turns": [turn], "tokens": 2, "learnt": 2, "cut": 0, "ends": True, **more}


def test_tokens_are_shown_as_they_are() -> None:
    words = token_view(preview(), "Tokens")
    assert "&lt;b&gt;↵" in words
    assert "&lt;|im_end|&gt;" in words
    assert "will know when to stop" in words
    assert "im_end" not in token_view(preview(), "Text")
    assert "does not teach when to stop" in token_view(preview(ends=False, cut=3), "Tokens")


@pytest.mark.parametrize("bars", range(1, 17))
def test_a_histogram_has_even_ticks_whatever_its_bars(bars: int) -> None:
    heights, parts = ticked([1] * bars)
    assert len(heights) % parts == 0
    assert bars <= len(heights) <= bars + 2
    counts = {"histogram": {"width": 10, "counts": [0] * (bars - 1) + [3]}, "counted": 3}
    assert ("Cut at" in histogram(counts, 5)) and ("Cut at" not in histogram(counts, 9999))


def test_held_out_prompts_are_taken_from_a_result_whatever_stands_in_it() -> None:
    run: Any = SimpleNamespace(result={"prompts": [{"asked": "a", "system": "s"}, {"asked": " "}, 3]})
    assert [(one.asked, one.system) for one in chat_view.prompts_of(run)] == [("a", "s")]
    run.result = None
    assert chat_view.prompts_of(run) == []
    assert len(chat_view.Prompt("x" * 500, "").label) == chat_view.MOST_LETTERS


def test_sizes_are_said_in_words(services: Services) -> None:
    assert size_words(134_515_008) == "135 million parameters"
    assert size_words(3_090_000_000) == "3.09 billion parameters"
    add_dataset(services)
    assert run_form.dataset_choices(services, LOCAL_USER)[0][0] == "orders (10 examples)"
