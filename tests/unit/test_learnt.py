"""What is learnt, told on a tokenizer of single characters and marks (no library, no disk)."""

import re

import pytest

from studio.core.errors import Refused
from studio.core.learnt import IGNORED, ChatTemplate, Encoded, Learnt, eval_rows, held_out, learn, render

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<|im_end|>\\n' }}{% endgeneration %}"
    "{% else %}{{ m['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
ASK = {"role": "user", "content": "Hi there"}
SAY = {"role": "assistant", "content": "Yes, two."}


class Characters:
    """One token for each character, and one for each mark like <|im_end|>."""

    special_ids = frozenset({1, 2})
    eos_id = 2

    def encode(self, text: str) -> Encoded:
        """Ids are code points + 10; marks are 1 and 2."""
        found = [(m[0], m.span()) for m in re.finditer(r"<\|im_start\|>|<\|im_end\|>|.", text, re.DOTALL)]
        marks = {"<|im_start|>": 1, "<|im_end|>": 2}
        return Encoded([marks.get(t, ord(t) + 10 if len(t) == 1 else 0) for t, _ in found], [s for _, s in found])


def taught(example: Learnt) -> str:
    """The characters that are learnt."""
    return "".join(
        example.text[s:e] for (s, e), label in zip(example.offsets, example.labels, strict=True) if label != IGNORED
    )


def template(source: str = CHATML) -> ChatTemplate:
    """A template with the usual marks."""
    return ChatTemplate(source, {"eos_token": "<|im_end|>"})


@pytest.mark.parametrize("source", [CHATML, MARKED])
def test_the_answer_and_its_end_of_turn_are_learnt_and_the_newline_after_it_is_not(source: str) -> None:
    example = learn([ASK, SAY], template(source), Characters())
    assert taught(example) == "Yes, two.<|im_end|>"
    assert example.ends and example.cut == 0 and example.learnt == 10
    assert all(label in (IGNORED, id_) for label, id_ in zip(example.labels, example.ids, strict=True))


@pytest.mark.parametrize("source", [CHATML, MARKED])
def test_every_answer_of_a_longer_chat_is_learnt_but_those_of_weight_0(source: str) -> None:
    chat = [ASK, SAY, ASK, {"role": "assistant", "content": "No.", "weight": 0}, ASK, {**SAY, "weight": 1}]
    example = learn(chat, template(source), Characters())
    assert taught(example) == "Yes, two.<|im_end|>" * 2
    assert [turn.learnt for turn in example.turns] == [False, True, False, False, False, True]


def test_both_ways_of_masking_agree() -> None:
    one, two = (learn([ASK, SAY], template(source), Characters()) for source in (CHATML, MARKED))
    assert one == two


def test_a_cut_is_made_at_the_end_and_told() -> None:
    whole = learn([ASK, SAY], template(), Characters())
    short = learn([ASK, SAY], template(), Characters(), max_length=len(whole.ids) - 3)
    assert short.ids == whole.ids[:-3] and len(short.labels) == len(short.offsets) == len(short.ids)
    assert short.cut == 3 and not short.ends and taught(short) == "Yes, two"


def test_a_chat_cut_before_its_answer_learns_nothing() -> None:
    example = learn([ASK, SAY], template(), Characters(), max_length=4)
    assert example.learnt == 0 and not example.ends


def test_without_an_end_of_turn_token_ends_is_false() -> None:
    plain = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}" \
            "{% if add_generation_prompt %}assistant: {% endif %}"  # fmt: skip
    example = learn([ASK, SAY], template(plain), Characters())
    assert taught(example).startswith("Yes, two.") and not example.ends


def test_turns_name_the_words_without_the_marks() -> None:
    example = learn([{"role": "system", "content": "Be brief."}, ASK, SAY], template(), Characters())
    assert [turn.role for turn in example.turns] == ["system", "user", "assistant"]
    assert [example.text[slice(*turn.words)] for turn in example.turns] == [
        "Be brief.",
        "Hi there",
        "Yes, two.<|im_end|>\n",
    ]
    assert "".join(example.text[turn.start : turn.end] for turn in example.turns) == example.text


def test_a_template_that_writes_earlier_answers_differently_is_refused_with_a_sentence() -> None:
    forgetful = "{% for m in messages %}{{ m.role ~ (m.content if loop.last else '...') }}{% endfor %}"
    with pytest.raises(Refused, match="so what is learnt can not be told apart"):
        learn([ASK, SAY, ASK, SAY], template(forgetful), Characters())


def test_a_template_that_opens_answers_differently_is_refused() -> None:
    thinking = CHATML.replace("assistant\\n' }}{% endif", "assistant\\n<think>' }}{% endif")
    with pytest.raises(Refused, match="told apart"):
        learn([ASK, SAY], template(thinking), Characters())


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{{ raise_exception('Roles must alternate') }}", "refuses the chat: Roles must alternate"),
        ("{% if %}", "can not be read"),
        ("{{ 1 + 'a' }}", "fails on this chat"),
        ("{{ ''.__class__.__mro__ }}", "refuses the chat|fails"),
        ("{{ 'x' * 30000000 }}", "unsafe or too slow"),
    ],
)
def test_a_template_that_can_not_render_is_told_in_a_sentence(source: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        render(template(source), [ASK])


def test_weight_never_reaches_the_template() -> None:
    shown = render(template("{{ messages[0] | tojson }}"), [{**ASK, "weight": 1}])
    assert shown.text == '{"role": "user", "content": "Hi there"}'


def test_held_out_keeps_at_least_one_back_and_never_all() -> None:
    assert held_out(10, 0.0, 1) == held_out(1, 0.5, 1) == held_out(0, 0.5, 1) == frozenset()
    assert len(held_out(2, 0.01, 1)) == 1 and len(held_out(2, 0.99, 1)) == 1
    assert len(held_out(400, 0.1, 42)) == 40


def test_held_out_depends_on_the_seed_alone_and_stays_the_same_for_ever() -> None:
    assert held_out(100, 0.1, 42) == held_out(100, 0.1, 42) != held_out(100, 0.1, 43)
    assert sorted(held_out(20, 0.2, 42)) == HELD_OUT_OF_20


HELD_OUT_OF_20: list[int] = [1, 9, 12, 19]


def test_a_dataset_that_names_its_own_part_keeps_it() -> None:
    assert eval_rows(["train", "eval", None], 0.5, 1) == {1}
    assert eval_rows(["train", None], 0.5, 1) == held_out(2, 0.5, 1)
