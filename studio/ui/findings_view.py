"""What is worth a look in a dataset, and what was done about it: findings and steps of a report as notes. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.findings import fix, rank, severity
from studio.ui.difference import difference
from studio.ui.markup import NOTHING, Kind, Markup, Text, join, note
from studio.ui.units import count

SHAPES: dict[str, Kind] = {"bad": "bad", "warn": "warn", "plain": "plain"}
MOST_ROWS = 8
MOST_PAIRS = 3
KEPT_AS_IT_IS = "A recorded step. Your file stays as it is."
OUT = "Leave out {}"
LANGUAGES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "tr": "Turkish", "uk": "Ukrainian",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
Finding = Mapping[str, Any]
Address = Callable[[int], str]  # where the example with this number (from 1) is shown


@dataclass(frozen=True)
class Words:
    """How one kind is told: of one and of many, why it matters, its button (of a kind with a fix), what was done."""

    one: str
    many: str
    why: str
    button: str = OUT
    done: str = "{} left out"


WORDS: dict[str, Words] = {
    "secret": Words("{} row holds a password or a key", "{} rows hold a password or a key",
                    "The model could learn to repeat it.", "Mask them", "Passwords and keys masked in {}"),
    "personal_data": Words("{} row holds personal data", "{} rows hold personal data",
                           "The model could learn to repeat it.", "Mask them", "Personal data masked in {}"),
    "leakage": Words("{} row is learnt and held out", "{} rows are learnt and held out",
                     "The check would praise what was only remembered.", OUT, "{} left out: also held out"),
    "refused_by_template": Words("{} row is refused by the model's template",
                                 "{} rows are refused by the model's template", "It can not be learnt as it is.",
                                 OUT, "{} left out: refused by the template"),
    "nothing_learnt": Words("{} row teaches nothing", "{} rows teach nothing",
                            "The answer is empty, or cut off whole.", OUT, "{} left out: nothing to learn"),
    "too_long": Words("{} row is too long", "{} rows are too long",
                      "The end is cut away.", OUT, "{} left out: too long"),
    "no_end_of_turn": Words("{} row does not teach when to stop", "{} rows do not teach when to stop",
                            "The end of the answer is not learnt.", OUT,
                            "{} left out: no end to learn"),
    "role_order": Words("{} chat has its turns out of order", "{} chats have their turns out of order",
                        "Each question should be followed by its answer.", "Put turns in order",
                        "Turns put in order in {}"),
    "duplicate": Words("{} row is there twice", "{} rows are there twice",
                       "What is repeated is learnt more strongly.", "Keep one of each", "{} left out: there twice"),
    "near_duplicate": Words("{} row nearly repeats another", "{} rows nearly repeat others",
                            "They teach little that is new.", "Keep one of each", "{} left out: nearly the same"),
    "placeholder": Words("{} row has a blank that was never filled", "{} rows have blanks that were never filled",
                         "Such as {{name}}: the model would learn to write it."),
    "refusal": Words("{} answer refuses", "{} answers refuse", "The model would learn to refuse."),
    "boilerplate": Words("{} answer has stock phrases", "{} answers have stock phrases",
                         "The model would learn to pad its answers."),
    "short_answer": Words("{} answer is very short", "{} answers are very short", "Most others are much longer."),
    "language_mix": Words("{} row is in another language", "{} rows are in another language",
                          "The model would mix them."),
    "control_characters": Words("{} row had control characters", "{} rows had control characters",
                                "They were taken out."),
    "mixed_types": Words("{} row holds other things than words", "{} rows hold other things than words",
                         "They are read as text."),
    "equal_columns": Words("Two columns have one name", "Several columns have one name",
                           "They are told apart by their place. Check that the right one is learnt."),
    "guessed_mapping": Words("What the columns mean was guessed", "What the columns mean was guessed",
                             "Look at the example: is the right column learnt?"),
}  # fmt: skip
MENDED = {"broken_rows": "{} mended"}  # steps that belong to no finding


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Those that have words, the gravest first."""
    return sorted((one for one in findings if one.get("kind") in WORDS), key=lambda one: rank(one["kind"]))


def finding_note(finding: Finding, at: Address, unit: str = "Row") -> Markup:
    """One finding: how many, which rows, why it matters."""
    about = join([rows_of(finding, at, unit), facts_of(finding), WORDS[finding["kind"]].why])
    return note(SHAPES[severity(finding["kind"])], title_of(finding), about)


def title_of(finding: Finding) -> str:
    """ "7 rows are there twice"."""
    words, number = WORDS[finding["kind"]], int(finding.get("count", 0))
    return (words.one if number == 1 else words.many).format(f"{number:,}")


def button_of(finding: Finding) -> str:
    """What its one button says; empty where there is nothing to press."""
    if step_of(finding) is None:
        return ""
    return WORDS[finding["kind"]].button.format(count(finding.get("count", 0), "row"))


def step_of(finding: Finding) -> dict[str, Any] | None:
    """The step that its button takes; None where there is none."""
    return fix(str(finding["kind"]), finding.get("facts") or {})


def rows_of(finding: Finding, at: Address, unit: str = "Row") -> Markup:
    """ "Rows 18, 44, 51 and 9 more. ": each number leads to its example. Pairs where a row repeats another."""
    number, places = int(finding.get("count", 0)), list(finding.get("examples") or [])
    rows = list(finding.get("rows") or [])
    known = dict(zip(rows, places, strict=False))
    linked = [row_link(row, known.get(row), at) for row in rows[:MOST_ROWS]]
    pairs = [pair for pair in (finding.get("facts") or {}).get("pairs") or [] if len(pair) == 2][:MOST_PAIRS]
    if pairs:
        shown = [join([row_link(a, known.get(a), at), " and ", row_link(b, known.get(b), at)]) for a, b in pairs]
        left = number - len(shown)
        if left <= 0:
            return Markup("{}s {}. ").format(unit, Markup(", ").join(shown))
        return sentence(f"{unit}s", shown, left, "more pairs" if left > 1 else "more pair")
    return sentence(unit if number == 1 else f"{unit}s", linked, number - len(linked), "more") if rows else NOTHING


def by_example(finding: Finding) -> dict[str, Any]:
    """The finding with the numbers of its examples in place of rows, which several files have alike."""
    facts = {name: value for name, value in (finding.get("facts") or {}).items() if name != "pairs"}
    numbers = [place + 1 for place in finding.get("examples") or []]
    return {**finding, "rows": numbers, "facts": facts}


def sentence(word: str, parts: Sequence[Markup], left: int, more: str) -> Markup:
    """ "Rows 1, 2 and 3 more. "."""
    if left > 0:
        return Markup("{} {} and {:,} {}. ").format(word, Markup(", ").join(parts), left, more)
    if len(parts) < 2:
        return Markup("{} {}. ").format(word, join(parts))
    return Markup("{} {} and {}. ").format(word, Markup(", ").join(parts[:-1]), parts[-1])


def row_link(row: Any, place: int | None, at: Address) -> Markup:
    """A row's number, which leads to its example (`place` from 0) where there is one."""
    if not isinstance(row, int) or place is None:
        return Markup("{}").format(f"{row:,}" if isinstance(row, int) else row)
    words = Markup('<a class="ts-row" href="{}" aria-label="Show the example of row {:,}">{:,}</a>')
    return words.format(at(place + 1), row, row)


def facts_of(finding: Finding) -> Text:
    """What else is known: the sorts of what is personal, the phrases, the languages, how many were looked at."""
    facts, kind = finding.get("facts") or {}, finding.get("kind")
    parts = []
    if kind in ("secret", "personal_data"):
        parts.append(listed(count(number, sort) for sort, number in pairs_of(facts, "sorts")))
    if kind == "boilerplate":
        parts.append(listed(f"“{phrase}”" for phrase, _ in pairs_of(facts, "sorts")))
    if kind == "role_order":
        parts.append(listed(reason for reason, _ in pairs_of(facts, "sorts")).capitalize())
    parts.append(listed(f"{LANGUAGES.get(name, name)} {number:,}" for name, number in pairs_of(facts, "languages")))
    if isinstance(facts.get("at_most"), int):
        parts.append(f"At most {count(facts['at_most'], 'character')}")
    if kind == "near_duplicate" and isinstance(facts.get("looked_at"), int):
        parts.append(f"The first {facts['looked_at']:,} were compared")
    return "".join(f"{part}. " for part in parts if part)


def pairs_of(facts: Mapping[str, Any], name: str) -> list[tuple[str, int]]:
    """Names with their counts; empty where a fact is something else."""
    found = facts.get(name)
    return [(str(key), int(value)) for key, value in found.items()] if isinstance(found, Mapping) else []


def listed(parts: Any) -> str:
    """ "a, b, c", at most eight; empty where there is none."""
    return ", ".join(list(parts)[:MOST_ROWS])


def step_title(step: Mapping[str, Any]) -> str:
    """What a step did: "12 rows mended"."""
    kind, number = str(step.get("kind", "")), count(int(step.get("count") or 0), "row")
    if kind in MENDED:
        return MENDED[kind].format(number)
    masked = step.get("do") != "drop" or kind not in WORDS or WORDS[kind].button != "Mask them"
    done = WORDS[kind].done if kind in WORDS and masked else "{} left out" if step.get("do") == "drop" else "{} changed"
    return done.format(number)


def step_note(step: Mapping[str, Any], unit: str = "Row") -> Markup:
    """A step that was taken, with what it changed."""
    return note("good", step_title(step), KEPT_AS_IT_IS, difference(step.get("samples") or [], unit))


def reasons(report: Mapping[str, Any], unit: str = "Row") -> Markup:
    """Why rows can not be used, with their numbers."""
    notes = []
    for reason in report.get("reasons", []):
        rows, number = list(reason.get("rows", []))[:MOST_ROWS], int(reason["count"])
        numbers = [Markup("{:,}").format(row) for row in rows]
        words = sentence(unit if number == 1 else f"{unit}s", numbers, number - len(rows), "more")
        notes.append(Markup("<li>{} <small>{}</small></li>").format(reason["first"], words if number > 1 else ""))
    return Markup('<ul class="ts-reasons">{}</ul>').format(join(notes)) if notes else NOTHING
