"""Ordinary data in which the doctor must not find anything: what people have, made up."""

import json
import random
from collections.abc import Callable

from studio.core.examples import Example


def _words(text: str, mark: str = " ") -> list[str]:
    return text.split(mark)


_NOUNS = _words(
    "river market garden library mountain kitchen violin station harbour forest window teacher engine museum village"
    " captain blanket weather painter letter island factory orchard theatre bicycle lantern bakery shepherd castle"
    " bridge doctor valley ocean cabin sailor carpet mirror meadow cellar tower baker singer farmer driver clock"
    " candle basket pillow ladder hammer needle thread button pocket jacket saddle wagon anchor compass feather"
)
_VERBS = _words(
    "carries follows paints repairs watches crosses remembers builds visits describes opens cleans measures protects"
    " finds borrows explains collects admires designs covers lifts sells hides shows reaches guards leaves enters"
)
_HOW = _words("quietly slowly gladly often rarely carefully early together again boldly calmly nearly hardly neatly")
_WHEN = _words(
    "in the morning|after the rain|before supper|during the winter|near the old wall|behind the school|at low tide"
    "|on market days|under the bridge|between two trains|far from the town|without help|for many years|since spring",
    "|",
)


def chat(asked: str, said: str, system: str = "") -> Example:
    """One question and its answer."""
    head = [{"role": "system", "content": system}] if system else []
    return Example([*head, {"role": "user", "content": asked}, {"role": "assistant", "content": said}])


def sentence(draw: random.Random) -> str:
    one, two, three = draw.sample(_NOUNS, 3)
    return (f"The {one} {draw.choice(_HOW)} {draw.choice(_VERBS)} the {two} {draw.choice(_WHEN)}, and the {three} "
            f"{draw.choice(_VERBS)} it {draw.choice(_HOW)}.")  # fmt: skip


def prose(count: int, seed: int = 1) -> list[Example]:
    """Questions with answers of several sentences."""
    draw = random.Random(seed)
    return [chat(f"Why does the {draw.choice(_NOUNS)} matter to the {draw.choice(_NOUNS)} {draw.choice(_WHEN)}?",
                 " ".join(sentence(draw) for _ in range(draw.randint(2, 5)))) for _ in range(count)]  # fmt: skip


def starter(text: str) -> list[Example]:
    """The starter dataset's rows."""
    rows = [json.loads(line) for line in text.splitlines()]
    return [chat(row["spoken"], row["order_json"], row["system"]) for row in rows]


def _labels() -> list[Example]:
    draw = random.Random(2)
    task = (
        "Classify the sentiment of the following review as positive, negative or neutral. Answer with one word."
        "\n\nReview: "
    )
    return [chat(task * 2 + sentence(draw), draw.choice(["positive", "negative", "neutral"])) for _ in range(300)]


def _templated_sums() -> list[Example]:
    draw, made = random.Random(3), list[Example]()
    for place in range(400):
        a, b, sign = place + 10, draw.randint(2, 99), draw.choice("+-*")
        total = {"+": a + b, "-": a - b, "*": a * b}[sign]
        made.append(chat(f"Please work out the following sum and explain each step: {a} {sign} {b} = ?",
                         f"We take {a} and {b}, apply {sign}, and after carrying digits it is {total}."))  # fmt: skip
    return made


def _bare_sums() -> list[Example]:
    return [chat(f"{a} + {b} =", str(a + b)) for a in range(20) for b in range(20)]


def _json_answers() -> list[Example]:
    draw = random.Random(4)
    made = list[Example]()
    for _ in range(300):
        things = [{"name": noun, "count": draw.randint(1, 9)} for noun in draw.sample(_NOUNS, draw.randint(0, 3))]
        made.append(chat(sentence(draw), json.dumps(things), "Extract the things that are named as JSON."))
    return made


def _code() -> list[Example]:
    draw, made = random.Random(5), list[Example]()
    for place in range(120):
        one, two = draw.sample(_NOUNS, 2)
        python = (f"def {one}_{two}(items: list[int], limit: int = {place}) -> dict[str, int]:\n    result = {{}}\n"
                  f"    for item in items:\n        if item > limit:\n            result[f\"{{{{{one}}}}}\"] = item\n"
                  f"    return result\n")  # fmt: skip
        script = f"const {one} = ({two}) => {{\n  console.log(`${{{two}}} is {place}`);\n  // TODO: remove\n}};\n"
        html = f'<div class="{one}">\n  <p>{{{{ {two} }}}}</p>\n</div>'
        tex = f"\\begin{{align}}\n\\frac{{{{{one[0]}}}}}{{{place}}} &= {{{{x}}}} \\\\\n\\end{{align}}"
        java = f'@Value("${{{one}.{two}}}")\nprivate String {two};\n\npublic int get{place}() {{ return {place}; }}'
        answer = draw.choice([python, script, html, tex, java])
        made.append(
            chat(
                f"Write number {place} of the {one} exercises about the {two}.",
                answer if place % 2 else f"```\n{answer}```",
            )
        )
    return made


def _long_chats() -> list[Example]:
    draw, made = random.Random(6), list[Example]()
    for _ in range(150):
        messages = [{"role": "system", "content": "You are a patient guide. Answer in plain words."}]
        for _ in range(draw.randint(2, 5)):
            messages += [
                {"role": "user", "content": sentence(draw)},
                {"role": "assistant", "content": f"{sentence(draw)} {sentence(draw)}"},
            ]
        messages += [{"role": "user", "content": "Thank you!"}, {"role": "assistant", "content": "You're welcome!"}]
        made.append(Example(messages))
    return made


def _passages() -> list[Example]:
    """One passage, several questions with short answers."""
    draw, made = random.Random(7), list[Example]()
    for _ in range(60):
        passage = " ".join(sentence(draw) for _ in range(12))
        for _ in range(4):
            one, two, three = draw.sample(_NOUNS, 3)
            asked = f"Who of the {one} and the {two} {draw.choice(_VERBS)} the {three} {draw.choice(_WHEN)}?"
            said = draw.choice(["yes", "no", f"The {draw.choice(_NOUNS)}", f"The {one}"])
            made.append(chat(f"{passage}\n\n{asked}", said))
    return list({as_key(example): example for example in made}.values())


def as_key(example: Example) -> str:
    return json.dumps(example.messages)


def _tools() -> list[Example]:
    draw, made = random.Random(8), list[Example]()
    for place in range(80):
        call = {
            "type": "function",
            "function": {"name": "find", "arguments": {"thing": draw.choice(_NOUNS), "place": place}},
        }
        made.append(Example([
            {"role": "user", "content": sentence(draw)}, {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": json.dumps({"found": place})}, {"role": "assistant", "content": sentence(draw)},
        ]))  # fmt: skip
    return made


def _german() -> list[Example]:
    draw = random.Random(9)
    things = _words("Brücke Küche Straße Bäckerei Werkstatt Bücherei Scheune Mühle Kirche Schule Wiese Garten Treppe")
    verbs = _words("liegt steht wartet bleibt ruht schläft wächst")
    where = _words("hinter dem Wald|neben dem Bahnhof|unter dem Dach|vor der Stadt|an einem kalten Morgen", "|")

    def line() -> str:
        one, two = draw.choice(things), draw.choice(things)
        return (
            f"Die {one} {draw.choice(verbs)} {draw.choice(where)}, und niemand weiß genau, warum die {two} dort "
            f"{draw.choice(where)} {draw.choice(verbs)}."
        )

    return [
        chat(f"Was ist mit der {draw.choice(things)} {draw.choice(where)} ({n})?", f"{line()} {line()}")
        for n in range(120)
    ]


def _translations() -> list[Example]:
    return [chat(f"Translate into German: {asked.messages[0]['content']}", said.messages[1]["content"])
            for asked, said in zip(prose(120), _german(), strict=True)]  # fmt: skip


def _chinese() -> list[Example]:
    draw = random.Random(10)
    signs = "山水河市场花园图书馆厨房车站港口森林窗户老师机器博物村庄船长天气画家信岛工厂果园剧院自行灯笼面包城堡桥医生"
    return [
        chat("".join(draw.choices(signs, k=12)) + "？", "".join(draw.choices(signs, k=60)) + "。") for _ in range(100)
    ]


def _texts() -> list[Example]:
    draw, made = random.Random(11), list[Example]()
    for place in range(100):
        made += [
            Example([], text=f"# {draw.choice(_NOUNS).title()} {place}"),
            Example([], text=" ".join(sentence(draw) for _ in range(6))),
        ]
    return made


SETS: dict[str, Callable[[], list[Example]]] = {
    "prose": lambda: prose(400), "labels": _labels, "templated sums": _templated_sums, "bare sums": _bare_sums,
    "json answers": _json_answers, "code": _code, "long chats": _long_chats, "passages": _passages, "tools": _tools,
    "german": _german, "translations": _translations, "chinese": _chinese, "texts": _texts,
    "answers alone": lambda: [Example(e.messages[1:]) for e in prose(50)],
}  # fmt: skip
