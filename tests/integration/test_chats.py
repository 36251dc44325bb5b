"""The playground's chats: kept per person, turned into datasets, drawn without a letter of markup that is not ours."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studio.core.errors import Conflict, Faults, NotFound, Refused
from studio.core.services import Services
from studio.core.stores.chats import ALIKE, Chat, Said, Turn
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.judging import exported, judged, make
from studio.core.use_cases.panes import Voice
from studio.core.use_cases.upload import import_file
from studio.ui.answer_form import SETTINGS, options_of
from studio.ui.asking import turn_number
from studio.ui.chat_view import reference_of, vote_words
from studio.ui.spoken import drawn_answer, drawn_turn, pieces
from tests.integration.records import add_run

FIELDS = [False, *[one.default for one in SETTINGS], ""]
PLACE = {"do_sample": 0, "stop": -1, **{one.name: n for n, one in enumerate(SETTINGS, 1)}}


def fields(**values: object) -> list[object]:
    """The drawer as it opens, with `values` in it."""
    found: list[object] = list(FIELDS)
    for name, value in values.items():
        found[PLACE[name]] = value
    return found


@pytest.fixture
def chat(services: Services) -> Chat:
    """A chat of two panes and two turns with a system prompt."""
    run = add_run(services)
    chat_id = services.chats.add(LOCAL_USER, run.id, ("base", run.id), "  First\nquestion ")
    for number, asked in enumerate(("first", "second")):
        answers = {0: Said(f"base {number}"), 1: Said(f"tuned {number}", None, {"finish": "stop"})}
        services.chats.put_turn(chat_id, LOCAL_USER, "Be short.", Turn(number, asked, answers))
    return services.chats.get(chat_id, LOCAL_USER)


def test_a_chat_is_kept_turn_by_turn_for_its_owner_alone(services: Services, chat: Chat) -> None:
    assert (chat.title, chat.system, [turn.asked for turn in chat.turns]) == (
        "First question", "Be short.", ["first", "second"],
    )  # fmt: skip
    assert [one.id for one in services.chats.of(LOCAL_USER)] == [chat.id]
    assert [one["content"] for one in chat.history(1, 1)] == ["first", "tuned 0"]
    assert services.chats.of("somebodyelse") == []
    for refused in (
        lambda: services.chats.get(chat.id, "somebodyelse"),
        lambda: services.chats.vote(chat.id, "somebodyelse", 0, 1),
        lambda: services.chats.edit(chat.id, "somebodyelse", 0, 1, "x"),
        lambda: services.chats.put_turn(chat.id, "somebodyelse", "", chat.turns[0]),
        lambda: services.chats.delete(chat.id, "somebodyelse"),
    ):
        with pytest.raises(NotFound):
            refused()
    assert services.chats.get(chat.id, LOCAL_USER) == chat
    services.chats.delete(chat.id, LOCAL_USER)
    assert services.chats.whole(LOCAL_USER) == []


def test_a_question_that_is_asked_anew_takes_the_place_of_all_that_came_after_it(
    services: Services, chat: Chat
) -> None:
    services.chats.vote(chat.id, LOCAL_USER, 1, 1)
    assert (turn_number(chat, "0"), turn_number(chat, ""), turn_number(chat, "7"), turn_number(None, "0")) == (
        0,
        2,
        2,
        0,
    )
    services.chats.put_turn(chat.id, LOCAL_USER, "", Turn(0, "other", {0: Said("a")}))
    now = services.chats.get(chat.id, LOCAL_USER)
    assert [(turn.asked, turn.best) for turn in now.turns] == [("other", None)]


def test_a_vote_pairs_the_answers_and_an_edit_pairs_with_what_it_came_from(services: Services, chat: Chat) -> None:
    services.chats.vote(chat.id, LOCAL_USER, 0, ALIKE)
    services.chats.vote(chat.id, LOCAL_USER, 1, 0)
    services.chats.vote(chat.id, LOCAL_USER, 1, 1)  # the last one counts
    services.chats.edit(chat.id, LOCAL_USER, 0, 1, "mine")
    found = judged(services.chats.judged(LOCAL_USER))
    said = [(row["prompt"][-1]["content"], row["chosen"], row["rejected"]) for row in found.preferences]
    assert said == [("first", "mine", "tuned 0"), ("second", "tuned 1", "base 1")]
    second = found.preferences[1]["prompt"]
    assert [one["content"] for one in second] == ["Be short.", "first", "mine", "second"]  # what the pane read
    assert [row["messages"][-1]["content"] for row in found.answers] == ["mine"]
    assert (found.votes, found.alike) == (2, 1)
    lines = [json.loads(line) for line in exported(services.chats.whole(LOCAL_USER), str)]
    assert [line["votes"] for line in lines] == [{"0": "same", "1": "worse"}, {"0": "same", "1": "better"}]
    assert lines[1]["messages"][2]["content"] == "mine"


def test_what_a_person_wrote_is_never_the_worse_answer(services: Services, chat: Chat) -> None:
    services.chats.vote(chat.id, LOCAL_USER, 0, 1)
    services.chats.edit(chat.id, LOCAL_USER, 0, 0, "mine")
    found = judged(services.chats.judged(LOCAL_USER)).preferences
    assert [(row["chosen"], row["rejected"]) for row in found] == [("tuned 0", "base 0"), ("mine", "base 0")]


def test_votes_become_a_dataset_and_then_its_next_version(services: Services, chat: Chat) -> None:
    with pytest.raises(Refused, match="no example"):
        make(services, LOCAL_USER, "preferences")
    services.chats.vote(chat.id, LOCAL_USER, 0, 1)
    first = make(services, LOCAL_USER, "preferences")
    assert (first.number, first.examples, first.report["format"]) == (1, 1, "preference")
    with pytest.raises(Conflict, match="has all of these"):
        make(services, LOCAL_USER, "preferences", first.dataset_id)
    services.chats.vote(chat.id, LOCAL_USER, 1, 1)
    second = make(services, LOCAL_USER, "preferences", first.dataset_id)
    assert (second.number, second.examples, second.dataset_id) == (2, 2, first.dataset_id)


def test_an_edited_answer_joins_the_dataset_that_the_run_learnt_from(
    services: Services, chat: Chat, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("spoken,order\n" + "".join(f"ask {n},say {n}\n" for n in range(20)))
    orders = import_file(services, LOCAL_USER, path, "orders.csv", {"prompt": "spoken", "completion": "order"})
    services.chats.edit(chat.id, LOCAL_USER, 0, 1, "mine")
    made = make(services, LOCAL_USER, "answers", orders.dataset_id)
    assert (made.number, made.examples) == (2, orders.examples + 1)
    with pytest.raises(Refused, match="another kind"):
        make(services, LOCAL_USER, "preferences", orders.dataset_id)


def test_thinking_and_tool_calls_are_taken_apart_and_nothing_is_lost() -> None:
    said = '<think>so\n</think>\n\nYes.<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call> <b>ok</b>'
    assert [(one.kind, one.text) for one in pieces(said)] == [
        ("thinking", "so"), ("text", "Yes."), ("call", '{"name": "f", "arguments": {"a": 1}}'), ("text", " <b>ok</b>"),
    ]  # fmt: skip
    assert [one.kind for one in pieces("opened by the template</think>answer")] == ["thinking", "text"]
    assert [(one.kind, one.whole) for one in pieces("<think>still")] == [("thinking", False)]
    assert [one.text for one in pieces("  two\n  lines")] == ["  two\n  lines"]
    shown = drawn_answer(said + "<tool_call>{broken <i></tool_call>")
    assert "Calls <code>f</code>" in shown and "<dt>a</dt><dd>1</dd>" in shown and "{broken &lt;i&gt;" in shown
    assert "<b>ok</b>" not in shown and "&lt;b&gt;ok" in shown


def test_what_people_and_models_say_never_becomes_markup() -> None:
    nasty = '"><img src=x onerror=alert(1)>'
    shown = drawn_turn(nasty, Said(nasty, f"<think>{nasty}</think>{nasty}"))
    assert "<img" not in shown and "Edited by you" in shown
    turn = Turn(0, nasty, {0: Said("a"), 1: Said("b")}, 1)
    voices = [Voice("a", nasty), Voice("b", "!" + nasty)]
    assert "<img" not in vote_words(turn, voices) and "&lt;img" in vote_words(turn, voices)
    assert reference_of([], nasty) == ""


def test_the_drawer_tells_all_faults_at_once_and_asks_greedily_without_chance() -> None:
    options = options_of(fields())
    assert (options.temperature, options.max_tokens, options.seed, options.num_beams) == (0.0, 256, 42, 1)
    drawn = options_of(fields(do_sample=True, temperature=0.9, top_k=40, stop="a\n\nb"))
    assert (drawn.temperature, drawn.top_k, drawn.stop) == (0.9, 40, ("a", "b"))
    with pytest.raises(Faults) as told:
        options_of(
            fields(do_sample=True, temperature=float("nan"), top_p=2, seed=None, max_new_tokens=1.5, stop="x\n" * 5)
        )
    assert [fault.field for fault in told.value.faults] == ["max_new_tokens", "temperature", "top_p", "seed", "stop"]
    with pytest.raises(Faults, match="Beams and chance"):
        options_of(fields(do_sample=True, num_beams=2))
    assert replace(options, temperature=0.0) == options_of(fields(temperature="not shown, so not read"))
