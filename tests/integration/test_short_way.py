"""The short way to what is learnt gives what the long way gives, and many examples at once what one gives."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core import learnt
from studio.core.errors import Refused
from studio.core.examples import Example
from studio.core.learning import learn_all
from studio.core.learnt import ChatTemplate, learn_example, plan
from studio.core.plain_template import blocks_of
from studio.core.tokenizer import load_chat
from tests.integration.test_learnt_exact import sources
from tests.integration.tiny import make_tokenizer

PLAIN = ["lfm2", "llama3", "llama3_1", "qwen2_5", "smollm2"]
WORDS = st.text("ab \n<|>{}'é東", min_size=0, max_size=12)


@st.composite
def chats(draw: Any) -> list[dict[str, Any]]:
    """A chat of one to six turns, mostly in order, with weights and odd spaces."""
    turns: list[dict[str, Any]] = []
    if draw(st.booleans()):
        turns.append({"role": "system", "content": draw(WORDS)})
    for _ in range(draw(st.integers(1, 3))):
        turns.append({"role": "user", "content": draw(WORDS)})
        answer = {"role": "assistant", "content": draw(WORDS)}
        turns.append({**answer, "weight": 0} if draw(st.integers(0, 4)) == 0 else answer)
    return turns


def tried(messages: list[dict[str, Any]], template: ChatTemplate) -> Any:
    """What of the plan decides what is trained and shown, or the words of the refusal.

    The words of a turn that is not learnt are looked for by the long way, and may be found in a mark (`<` in
    `<|im_start|>`): they are left out.
    """
    try:
        found = plan(messages, template)
    except Refused as refused:
        return refused.problem
    turns = [(turn.role, turn.start, turn.end, turn.words if turn.learnt else None) for turn in found.turns]
    return found.text, found.spans, turns


@pytest.mark.parametrize("name", sorted(sources()))
def test_both_ways_give_the_same_plan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = ChatTemplate(sources()[name], make_tokenizer().special_tokens_map)
    short = 0

    @settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(chats())
    def compare(messages: list[dict[str, Any]]) -> None:
        nonlocal short
        found = tried(messages, template)
        with monkeypatch.context() as patch:
            patch.setattr(learnt, "blocks_of", lambda _template: None)
            assert tried(messages, template) == found
        blocks = blocks_of(template)
        short += bool(blocks and not isinstance(found, str) and blocks.places(messages, found[0]))

    compare()
    assert (short > 30) == (name in PLAIN), short


def test_many_at_once_are_what_each_is_alone_and_refusals_stand_in_their_place(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    chat = load_chat(tmp_path)
    refused = Example([{"role": "user", "content": None}, {"role": "assistant", "content": "x"}])
    examples = [Example([{"role": "user", "content": f"How many? {n}"}, {"role": "assistant", "content": "Two " * n}])
                for n in range(600)]  # fmt: skip
    examples[300] = refused
    examples[7] = Example([], text="Once upon a time")
    found = list(learn_all(examples, chat, 64))
    assert isinstance(found[300], Refused) and len(found) == 600
    for n in (0, 7, 255, 256, 299, 301, 599):
        assert found[n] == learn_example(examples[n], chat.template, chat.encoder, 64)


def test_plain_text_is_learnt_whole_with_its_end(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    chat = load_chat(tmp_path)
    found = learn_example(Example([], text="Once upon a time"), chat.template, chat.encoder)
    assert found.text == "Once upon a time<|im_end|>" and found.labels == found.ids and found.ends
    cut = learn_example(Example([], text="Once upon a time " * 20), chat.template, chat.encoder, 10)
    assert len(cut.ids) == 10 and cut.cut > 0 and not cut.ends
