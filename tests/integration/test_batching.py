"""Requests that join and leave the running batch, held against the library's own `generate` in fp32."""

import json
from pathlib import Path

import pytest
import torch

from studio.core.errors import Refused
from tests.integration.test_decode import (  # noqa: F401 (fixtures)
    QUESTIONS,
    _one_thread,
    _renamed_property,
    ask,
    folders,
    ids,
    loaded,
    reference,
)
from worker.engine.kept import Kept
from worker.engine.life import makes_room
from worker.engine.models import BASE, LoadedModel
from worker.engine.prompts import Prompts
from worker.engine.row import Row
from worker.engine.sampling import Sampling, likelihoods, pick
from worker.engine.scheduler import Scheduler, decode
from worker.engine.slab import ROOM, Slab

NAMES = ("base", "one", "two")


def finish(scheduler: Scheduler) -> None:
    """Until nobody waits."""
    while scheduler.waiting or scheduler.active:
        scheduler.turn()


def turns(scheduler: Scheduler, count: int) -> None:
    """So many."""
    for _ in range(count):
        scheduler.turn()


def test_rows_that_join_and_leave_in_mid_flight_equal_their_own_generate(
    loaded: LoadedModel,  # noqa: F811
    folders: dict[str, Path],  # noqa: F811
) -> None:
    prompts, scheduler = Prompts(folders["base"]), Scheduler(loaded, 2**24)
    scheduler.chunk = 20
    rows: list[tuple[str, Row]] = []
    for wave in range(4):
        for at, question in enumerate(QUESTIONS):
            name = NAMES[(at + wave) % 3]
            row = ask(loaded, prompts, name, question + f" {wave % 2}", room=6 + 9 * ((at * 3 + wave) % 5))
            rows.append((name, row))
            scheduler.add(row)
        turns(scheduler, 9)
        rows[-1][1].stopped.set()
    finish(scheduler)
    whole = [(name, row) for name, row in rows if not row.stopped.is_set()]
    assert len(whole) == 16 and scheduler.kept.size > 0
    for name, row in whole:
        assert ids(row) == reference(folders, name, row)
    for _name, row in rows:  # a stopped one said what it would have said, up to there
        assert ids(row) == reference(folders, _name, row)[: len(ids(row))]


def test_the_next_turn_of_a_chat_reads_only_what_is_new(
    loaded: LoadedModel,  # noqa: F811
    folders: dict[str, Path],  # noqa: F811
) -> None:
    prompts, scheduler = Prompts(folders["base"]), Scheduler(loaded, 2**24)
    chat = [{"role": "user", "content": QUESTIONS[1]}]
    first = ask(loaded, prompts, "one", QUESTIONS[1])
    scheduler.add(first)
    finish(scheduler)
    said = [*first.prompt, *ids(first)]
    prompt = [*said, *prompts.encode("<|im_end|>\n<|im_start|>user\nAnd then?<|im_end|>\n<|im_start|>assistant\n")]
    assert chat and scheduler.kept.longest(loaded.key("one"), prompt)[1] == len(said) - 1
    assert scheduler.kept.longest(loaded.key("two"), prompt)[1] == 0, "another adapter reads otherwise"
    second = ask(loaded, prompts, "one", "")
    second.prompt = prompt
    scheduler.add(second)
    scheduler.chunk = len(prompt) - len(said) + 1
    scheduler.turn()
    assert len(ids(second)) >= 1, "one chunk was enough for what was not read yet"
    finish(scheduler)
    assert ids(second) == reference(folders, "one", second)


def test_what_is_kept_stays_below_its_limit_and_the_longest_unused_goes() -> None:
    read = [(torch.zeros(1, 20, 4), torch.zeros(1, 20, 4))]
    kept = Kept(2 * 2 * 20 * 4 * 4)
    for first in (100, 200, 300):
        kept.put("a", list(range(first, first + 20)), read)
    assert kept.longest("a", list(range(100, 125))) == ([], 0)
    assert kept.longest("a", list(range(200, 225)))[1] == 20
    kept.put("a", list(range(200, 221)), read)
    assert kept.longest("a", list(range(300, 325)))[1] == 20, "the one that was gone on with made room itself"


def test_a_slab_takes_room_for_as_many_rows_as_there_are_however_long_they_get() -> None:
    slab = having_read(10)
    for length in range(20, 100, 10):
        slab.join(having_read(length))
        slab.keep([1])
    assert (slab.slots, slab.lengths) == (2, [90])
    assert slab.columns < 2 * (90 + ROOM)


def having_read(length: int) -> Slab:
    """A slab with a row of so many tokens."""
    slab, read = Slab(1), torch.ones(1, 1, length, 2)
    slab.reserve(length)
    slab.update(read, read, 0)
    slab.wrote(length)
    return slab


def test_a_long_prompt_does_not_hold_up_who_answers_already_and_can_be_stopped(
    loaded: LoadedModel,  # noqa: F811
    folders: dict[str, Path],  # noqa: F811
) -> None:
    prompts, scheduler = Prompts(folders["base"]), Scheduler(loaded)
    scheduler.chunk = 8
    quick = ask(loaded, prompts, "base", QUESTIONS[0], room=60)
    scheduler.add(quick)
    finish_reading(scheduler, quick)
    scheduler.chunk = 8
    slow = ask(loaded, prompts, "one", QUESTIONS[1])
    scheduler.add(slow)
    before = len(ids(quick))
    turns(scheduler, 2)
    assert not ids(slow) and len(ids(quick)) == before + 2
    slow.stopped.set()
    scheduler.turn()
    assert slow.over and not slow.failed
    finish(scheduler)
    assert ids(quick) == reference(folders, "base", quick)


def finish_reading(scheduler: Scheduler, row: Row) -> None:
    """Until the row has its first token."""
    while not ids(row):
        scheduler.turn()


@pytest.mark.parametrize("name", ["base", "one"])
def test_beams_equal_the_models_own_and_others_go_on_meanwhile(
    name: str,
    loaded: LoadedModel,  # noqa: F811
    folders: dict[str, Path],  # noqa: F811
) -> None:
    prompts, scheduler = Prompts(folders["base"]), Scheduler(loaded)
    beams = ask(loaded, prompts, name, QUESTIONS[3], beams=3, room=12)
    others = [ask(loaded, prompts, other, QUESTIONS[0], room=8) for other in NAMES]
    ended: list[int] = []
    for other in others:
        other.listener.end = lambda _reason: ended.append(len(ids(beams)))  # type: ignore[method-assign]
    for row in (beams, *others):
        scheduler.add(row)
    finish(scheduler)
    assert ids(beams) == reference(folders, name, beams, num_beams=3)
    assert ended == [0, 0, 0], "they ended before the search did"
    for other, row in zip(NAMES, others, strict=True):
        assert ids(row) == reference(folders, other, row)


def test_a_repetition_penalty_is_the_librarys(
    loaded: LoadedModel,  # noqa: F811
    folders: dict[str, Path],  # noqa: F811
) -> None:
    how = Sampling(repetition_penalty=1.3)
    row = ask(loaded, Prompts(folders["base"]), "one", QUESTIONS[0], sampling=how)
    decode(loaded, [row])
    assert ids(row) == reference(folders, "one", row, repetition_penalty=1.3)


def drawn(logits: torch.Tensor, how: Sampling) -> set[int]:
    """All that is drawn in many tries."""
    generator = torch.Generator().manual_seed(0)
    return {pick(logits, how, generator) for _ in range(400)}


def test_top_k_top_p_and_min_p_leave_out_what_the_libraries_do() -> None:
    from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    chances = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    logits = chances.log()
    assert drawn(logits, Sampling(1.0)) == set(range(6))
    for how, warper in (
        (Sampling(1.0, top_k=3), TopKLogitsWarper(3)),
        (Sampling(1.0, top_p=0.7), TopPLogitsWarper(0.7)),
        (Sampling(1.0, min_p=0.3), MinPLogitsWarper(0.3)),
    ):
        left = warper(torch.zeros(1, 1, dtype=torch.long), logits[None].clone())[0].isfinite()
        assert drawn(logits, how) == set(left.nonzero().flatten().tolist())
    flat = torch.zeros(2000)
    assert len(drawn(flat, Sampling(1.0, top_p=0.9))) > 300, "a nucleus wider than the few that are looked at first"
    chance, best = likelihoods(logits, 2, 2)
    assert chance == pytest.approx(float(logits[2])) and [one for one, _ in best] == [0, 1]


def test_a_model_whose_memory_can_not_be_cut_answers_each_row_by_itself(
    loaded: LoadedModel,  # noqa: F811
    folders: dict[str, Path],  # noqa: F811
) -> None:
    loaded._base_is_plain = False
    prompts, scheduler = Prompts(folders["base"]), Scheduler(loaded, 2**24)
    rows = [(name, ask(loaded, prompts, name, QUESTIONS[at], room=9)) for at, name in enumerate(NAMES)]
    for _name, row in rows:
        scheduler.add(row)
    finish(scheduler)
    assert scheduler.kept.size == 0
    for name, row in rows:
        assert ids(row) == reference(folders, name, row)


def test_a_row_whose_adapter_was_forgotten_while_it_waited_is_told(
    loaded: LoadedModel,  # noqa: F811
    folders: dict[str, Path],  # noqa: F811
) -> None:
    prompts, scheduler = Prompts(folders["base"]), Scheduler(loaded)
    lost, other = ask(loaded, prompts, "two", QUESTIONS[0]), ask(loaded, prompts, "base", QUESTIONS[0])
    loaded.detach("two")
    for row in (lost, other):
        scheduler.add(row)
    finish(scheduler)
    assert lost.listener.error is not None and lost.over  # type: ignore[attr-defined]
    assert ids(other) == reference(folders, "base", other) and other.key == BASE


def test_a_prompt_can_carry_tools_and_can_end_in_the_middle_of_an_answer(
    tmp_path: Path,
    folders: dict[str, Path],  # noqa: F811
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((folders["base"] / name).read_bytes())
    source = (folders["base"] / "chat_template.jinja").read_text()
    (tmp_path / "chat_template.jinja").write_text("{% if tools %}TOOLS {{ tools | tojson }}\n{% endif %}" + source)
    prompts, chat = Prompts(tmp_path), [{"role": "user", "content": "Hi"}]
    tool = {"type": "function", "function": {"name": "weather"}}
    assert prompts.prompt(chat, tools=[tool]) == f"TOOLS [{json.dumps(tool)}]\n" + prompts.prompt(chat)
    begun = [*chat, {"role": "assistant", "content": "The sun "}]
    assert prompts.prompt(begun, go_on=True) == prompts.prompt(chat) + "The sun "
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'][:9] }}<|im_end|>{% endfor %}")
    with pytest.raises(Refused, match="can not continue"):
        Prompts(tmp_path).prompt(begun, go_on=True)


def test_the_playground_leaves_an_accelerator_only_to_a_run_that_fills_it() -> None:
    gib = 2**30
    assert makes_room(True, 10 * gib, 80 * gib)
    assert not makes_room(True, 60 * gib, 80 * gib)
    assert not makes_room(False, 10 * gib, 80 * gib)
