"""The data doctor: each kind with what it finds and what it leaves alone; ordinary data has no finding."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.examples import Example, as_json
from studio.importing.doctor.doctor import Doctor, Finding
from studio.importing.doctor.near import folded
from studio.importing.doctor.turns import mend_roles
from tests.integration import ordinary
from tests.integration.ordinary import chat, prose

Split = str | None


def look(examples: list[Example], splits: list[Split] | None = None) -> tuple[dict[str, Finding], Doctor]:
    """All findings by kind; rows count from 1."""
    doctor = Doctor()
    for place, example in enumerate(examples):
        split = splits[place] if splits else None
        doctor.add(place + 1, split, example, as_json(example.messages) if example.messages else example.text)
    return {finding.kind: finding for finding in doctor.finish()}, doctor


def rows(found: dict[str, Finding], kind: str) -> list[int]:
    return (found[kind].ordinals + 1).tolist() if kind in found else []


@pytest.mark.parametrize("name", sorted(ordinary.SETS))
def test_ordinary_data_has_no_finding(name: str) -> None:
    examples = ordinary.SETS[name]()
    found, doctor = look(examples)
    assert {kind: (rows(found, kind)[:5], found[kind].facts) for kind in found} == {}
    assert doctor.groups().tolist() == list(range(len(examples)))


def test_nothing_at_all() -> None:
    found, doctor = look([])
    assert found == {}
    assert doctor.groups().dtype == np.int64
    assert len(doctor.groups()) == 0


def test_the_starter_data_is_clean() -> None:
    text = Path("assets/examples/orders.jsonl").read_text()
    found, _ = look(ordinary.starter(text))
    assert found == {}


def test_duplicates_are_the_later_ones() -> None:
    examples = prose(30)
    found, doctor = look([*examples, examples[3], examples[7], examples[3]])
    assert rows(found, "duplicate") == [31, 32, 33]
    assert found["duplicate"].facts == {"pairs": [[4, 31], [8, 32], [4, 33]]}
    assert list(found) == ["duplicate"]
    assert doctor.groups()[[3, 30, 32]].tolist() == [3, 3, 3]


def test_near_duplicates_by_a_word_by_case_and_by_punctuation() -> None:
    examples = prose(40)
    asked, said = (examples[5].messages[i]["content"] for i in (0, 1))
    word = said.split()[20]
    near = [
        chat(asked, said.replace(word, "otherwise", 1)),
        chat(asked.upper(), said),
        chat(asked, said.replace(".", " !")),
        chat("Please: " + asked, said),
    ]
    found, doctor = look([*examples, *near, examples[5]])
    assert rows(found, "near_duplicate") == [41, 42, 43, 44]
    assert rows(found, "duplicate") == [45]
    assert found["near_duplicate"].facts["pairs"][0] == [6, 41]
    assert set(doctor.groups()[[5, 40, 41, 42, 43, 44]].tolist()) == {5}
    assert len(set(doctor.groups().tolist())) == 40


def likeness(one: Example, two: Example) -> float:
    """Jaccard of the runs of eight bytes, as the doctor folds them."""
    texts = [folded(e.messages[0]["content"]) + folded(e.messages[1]["content"]) for e in (one, two)]
    first, second = ({text[i : i + 8] for i in range(len(text) - 7)} for text in texts)
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("count", [60, 2000])
def test_near_duplicates_are_found_among_many(count: int) -> None:
    draw = random.Random(3)
    examples = prose(count)
    near, far = set[int](), set[int]()
    for place in range(0, count, 4):
        asked, said = (examples[place].messages[i]["content"] for i in (0, 1))
        words = said.split()
        for _ in range(1 + place % 3):
            words[draw.randrange(len(words))] = draw.choice(("elsewhere", "nobody", "zinc"))
        examples.append(chat(asked, " ".join(words)))
        alike = likeness(examples[place], examples[-1])
        (near if alike >= 0.85 else far).add(len(examples))
    found = set(rows(look(examples)[0], "near_duplicate"))
    assert len(near) > 5
    assert len(near - found) <= max(1, 0.04 * len(near))
    assert not found - near


def test_what_differs_in_digits_or_in_a_whole_answer_is_no_near_duplicate() -> None:
    asked, said = (prose(1)[0].messages[i]["content"] for i in (0, 1))
    examples = [chat(f"{asked} Take {n} of them.", said) for n in range(9)]
    examples += [
        chat(asked * 3 + f" Is the {word} mentioned?", "No.") for word in ("bridge over the river", "old market hall")
    ]
    found, _ = look(examples)
    assert "near_duplicate" not in found


def test_leakage_names_what_is_not_held_out() -> None:
    examples = prose(30)
    asked, said = (examples[4].messages[i]["content"] for i in (0, 1))
    held = [examples[2], chat(asked + " Please!", said)]
    found, _ = look([*examples, *held], [*["train"] * 30, "eval", "eval"])
    assert rows(found, "leakage") == [3, 5]
    assert found["leakage"].facts == {"pairs": [[3, 31], [5, 32]]}
    assert "leakage" not in look([*examples, *held])[0]
    assert "leakage" not in look([*examples, *held], ["eval"] * 32)[0]


def turns(*roles: str, **more: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"{role} {place}", **more} for place, role in enumerate(roles)]


CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}],
}


@pytest.mark.parametrize(
    ("messages", "wrong", "mended"),
    [
        (turns("user", "user", "assistant"), "two turns of the user in a row", "user assistant"),
        (turns("user", "assistant", "assistant"), "two turns of the assistant in a row", "user assistant"),
        (turns("assistant", "user", "assistant"), "starts with the assistant", "user assistant"),
        (turns("system", "assistant", "user", "assistant"), "starts with the assistant", "system user assistant"),
        (turns("user", "assistant", "user"), "ends without an answer", "user assistant"),
        (turns("user", "system", "assistant"), "system turn not first", "system user assistant"),
        (turns("user", "tool", "assistant"), "tool turn without a call", "user assistant"),
        ([*turns("user"), CALL, *turns("tool")], "ends without an answer", "user assistant"),
        (turns("assistant", "user"), "starts with the assistant", ""),
    ],
)  # fmt: skip
def test_the_order_of_turns(messages: list[dict[str, Any]], wrong: str, mended: str) -> None:
    found, _ = look([*prose(9), Example(messages)])
    assert rows(found, "role_order") == [10]
    assert found["role_order"].facts == {"sorts": {wrong: 1}}
    again, changed = mend_roles(messages)
    assert changed
    assert " ".join(message["role"] for message in again) == mended
    assert not again or mend_roles(again) == (again, False)


@pytest.mark.parametrize(
    "messages",
    [
        turns("user", "assistant"),
        turns("system", "user", "assistant", "user", "assistant"),
        turns("assistant"),
        [*turns("user"), CALL, *turns("tool", "tool", "assistant")],
        [
            *turns("user"),
            {"role": "assistant", "content": '<tool_call>{"name": "f"}</tool_call>'},
            *turns("tool", "assistant"),
        ],
    ],
)
def test_chats_in_order_stay(messages: list[dict[str, Any]]) -> None:
    assert mend_roles(messages) == (messages, False)
    assert "role_order" not in look([Example(messages)])[0]


def test_joined_turns_keep_texts_calls_and_the_lower_weight() -> None:
    first, second = turns("user")[0], {"role": "assistant", "content": "Wait.", "weight": 1}
    joined, _ = mend_roles([first, second, {**CALL, "weight": 0}, *turns("tool", "assistant")])
    assert joined[1] == {"role": "assistant", "content": "Wait.", "weight": 0, "tool_calls": CALL["tool_calls"]}
    assert mend_roles(turns("user", "user", "assistant"))[0][0]["content"] == "user 0\n\nuser 1"


def test_short_answers_beside_long_ones() -> None:
    examples = [*prose(30), chat("And now?", "Ok"), chat("What else?", "Not sure."), chat("Data?", "[]")]
    found, _ = look(examples)
    assert rows(found, "short_answer") == [31, 32]
    assert found["short_answer"].facts["at_most"] == 9
    assert found["short_answer"].facts["median"] > 100
    assert "short_answer" not in look([chat(f"Is {n} odd?", "yes" if n % 2 else "no") for n in range(40)])[0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("I'm sorry, but I can't help with that request, whatever the reason.", "refusal"),
        ("I\u2019m sorry, but I cannot assist with that.", "refusal"),
        ("As an AI language model, I do not have opinions about that topic.", "refusal"),
        ("I cannot assist with anything of that kind, now or later.", "refusal"),
        ("I apologize, but I cannot fulfill this request.", "refusal"),
        ("Es tut mir leid, aber dabei kann ich dir nicht helfen.", "refusal"),
        ("Als KI-Sprachmodell habe ich dazu keine Meinung.", "refusal"),
        ("Je suis d\u00e9sol\u00e9, mais je ne peux pas vous aider avec cela.", "refusal"),
        ("Lo siento, pero no puedo ayudarte con eso.", "refusal"),
        ("Certainly! Here is the list: apples, pears and plums.", "boilerplate"),
        ("Sure, here's a poem about the sea and the wind.", "boilerplate"),
        ("The bridge opened in spring. I hope this helps!", "boilerplate"),
        ("The bridge opened in spring. Let me know if you have any other questions.", "boilerplate"),
        ("I'm sorry to hear that your parcel is late; it comes tomorrow.", ""),
        ("I'm sorry, but that room is booked until Sunday evening.", ""),
        ("I can't find your order yet. Which address did you use?", ""),
        ("I can't help but smile when the children sing.", ""),
        ("We cannot provide a refund after thirty days.", ""),
        ("Sure, the shop opens at nine and closes at six.", ""),
        ("Es tut mir leid, dass Ihr Paket noch nicht angekommen ist.", ""),
    ],
)
def test_refusals_and_stock_phrases(answer: str, kind: str) -> None:
    found, _ = look([*prose(9), chat("Could you tell me about it?", answer)])
    assert {name: rows(found, name) for name in found if name != "language_mix"} == ({kind: [10]} if kind else {})


def test_a_sentence_shared_by_a_third_of_the_answers() -> None:
    examples = prose(60)
    opened = [chat(e.messages[0]["content"], "Let us think about this in small steps. " + e.messages[1]["content"])
              for e in examples[:21]]  # fmt: skip
    found, _ = look([*opened, *examples[21:]])
    assert rows(found, "boilerplate") == list(range(1, 22))
    assert found["boilerplate"].facts["sentences"] == ["Let us think about this in small steps."]
    assert "boilerplate" not in look([*opened[:17], *examples[17:]])[0]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Dear {{name}}, thank you for your letter.", True),
        ("Dear {{ customer name }}, thank you.", True),
        ("Hello ${firstName}, welcome back.", True),
        ("Yours, [INSERT NAME]", True),
        ("Yours sincerely, [Your Name]", True),
        ("Write to <your name here> tomorrow.", True),
        ("TODO: write this answer", True),
        ("Lorem ipsum dolor sit amet", True),
        ("Enter the code SAVE, {{name}}, and save.", True),
        ("In Jinja, {{ name }} prints the variable.", False),
        ("Write `{{ name }}` where the name goes.", False),
        ("```html\n<p>{{ name }}</p>\n```\nThat shows it.", False),
        ("function hello() {\n  return `Hi ${name}`;\n}", False),
        ("$\\frac{{a}}{{b}}$ is a fraction.", False),
        ("@book{x,\n  title = {{Dubliners}}\n}", False),
        ("echo ${HOME}/bin", False),
        ("We made a TODO list for the move.", False),
        ("Write to [email] or call [phone]; the [key] is [password].", False),
        ("See [Name](https://a.example) and [1].", False),
    ],
)
def test_placeholders_in_prose(text: str, is_one: bool) -> None:
    found, _ = look([*prose(9), chat("What does it say there, in full?", text)])
    assert [kind for kind in found if kind != "short_answer"] == (["placeholder"] if is_one else [])
    assert not is_one or rows(found, "placeholder") == [10]


GERMAN = [
    (
        "Wie komme ich am schnellsten zum Bahnhof?",
        "Nehmen Sie die Straßenbahn bis zum Rathaus und gehen Sie dann über die Brücke.",
    ),
    (
        "Was soll ich heute Abend kochen?",
        "Eine Suppe aus Kartoffeln und Lauch ist schnell gemacht und schmeckt auch den Kindern.",
    ),
]


def test_other_languages_among_many_of_one() -> None:
    found, _ = look([*prose(50), *(chat(*pair) for pair in GERMAN)])
    assert rows(found, "language_mix") == [51, 52]
    assert found["language_mix"].facts == {"languages": {"en": 50, "de": 2}, "looked_at": 52}


def test_a_translation_and_an_even_mix_are_no_language_mix() -> None:
    asked = "Translate into German: take the tram to the town hall and walk over the bridge."
    assert (
        "language_mix"
        not in look([*prose(50), *(chat(f"{asked} ({n})", said) for n, (_, said) in enumerate(GERMAN))])[0]
    )
    assert "language_mix" not in look([*prose(3), *(chat(*pair) for pair in GERMAN)])[0]


def test_hostile_texts_take_no_time() -> None:
    hostile = [
        "a" * 300_000 + "@",
        "@" * 100_000,
        "{{" * 50_000,
        "[" * 100_000,
        "4 " * 100_000,
        "-----BEGIN " * 10_000,
        "eyJ" * 50_000,
        "A1" * 100_000,
        "password " * 30_000,
        "+1" * 100_000,
        "\ud800\udfff" * 1000,
        "sk-" * 50_000,
        "i'm sorry but " * 9000,
        "://a:" * 30_000,
    ]
    doctor = Doctor()
    for place, text in enumerate(hostile):
        doctor.add(place, None, chat(text, text), text)
    assert doctor.finish() is not None
