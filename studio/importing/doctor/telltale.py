"""Phrases that give away what should not be learnt: refusals, boilerplate, placeholders nobody filled in. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_HEAD, _TAIL = 240, 240

_HELP = (
    r"(?:assist|help|comply|fulfill?|engage|generate|promote|condone|provide|discuss|do (?:that|this|so)"
    r"|answer (?:that|this|your)|respond to (?:that|this|your)|give (?:you |any )?(?:advice|medical|legal|financial))"
)
_DO = r"(?:answer|create|write|continue|support|participate|share|offer|produce|respond|access|browse|accommodate|give)"
_NOT = r"(?:can ?not|can't|will not|won't|am not able to|am unable to|'m not able to|'m unable to)"
_SORRY = (
    r"(?:(?:(?:i'm|i am|we're)?(?: (?:very|really|so|truly))? ?(?:sorry|afraid)|sorry"
    r"|(?:my )?apologies|i apologi[sz]e|unfortunately)"
    r"[,.!;:]?(?: but)?,? )"
)
_MODEL = r"an? (?:ai|artificial intelligence|(?:large )?language model|virtual assistant)\b"
_ADVERB = r"(?: (?:be able to|directly|really|fully|in good conscience|ethically|actually|currently|physically))"
_REFUSAL = re.compile(
    rf"{_SORRY}?i ?{_NOT}{_ADVERB}{{0,2}}(?: {_HELP}\b(?! (?:but|you enough))|[.,!]|\Z)"
    rf"|{_SORRY}i ?{_NOT}{_ADVERB}{{0,2}} {_DO}\b"
    rf"|{_SORRY}?as {_MODEL}|{_SORRY}(?:i'm|i am) (?:just |only )?{_MODEL}"
    rf"|i(?:'m| am) (?:just |only )?{_MODEL}.{{0,60}}(?:not|n't)\b"
    r"|i (?:must|have to|need to|will have to) (?:decline|refuse)\b"
    r"|i (?:don't|do not) (?:feel comfortable|have the (?:ability|capability))\b"
    r"|it (?:is|would be|'s) (?:not appropriate|inappropriate|unethical) for me to\b"
    r"|(?:es )?tut mir leid[,.!]?(?: aber)?,? (?:ich kann|das kann ich|dabei kann ich|ich darf|als ki)"
    r"(?=.{0,80}(?:nicht|keine|ki)\b)(?=.{0,120}(?:helfen|unterst\u00fctzen|beantworten|weiterhelfen|erf\u00fcllen"
    r"|bereitstellen|tun|ki|sprachmodell)\b)"
    r"|als (?:ki|ki-sprachmodell|sprachmodell|k\u00fcnstliche intelligenz)\b"
    r"|ich kann (?:dir |ihnen )?(?:dabei |damit |bei dieser anfrage )?(?:leider )?nicht (?:weiter)?helfen"
    r"|(?:je suis )?d\u00e9sol\u00e9e?[,.!]?(?: mais)?,? je ne (?:peux|suis)\b"
    r"|je ne (?:peux pas|suis pas en mesure)(?: de)? (?:vous |t')?(?:aider|r\u00e9pondre|fournir)"
    r"|en tant qu(?:e mod\u00e8le|'ia|'intelligence artificielle|'assistant virtuel)\b"
    r"|(?:lo siento|lo lamento|disculpa)[,.!]?(?: pero)?,? no puedo\b"
    r"|no puedo (?:ayudarte|ayudarle|ayudar con|asistir|proporcionar)\b"
    r"|como (?:modelo de lenguaje|(?:una )?(?:ia|inteligencia artificial))\b"
)

_OPENINGS = re.compile(
    r"(?:certainly|sure(?: thing)?|of course|absolutely|definitely|gladly)[!,.]+ ?"
    r"(?:i'd be happy to|here(?:'s| is| are)|i can help)\b"
    r"|(?:that's a |what a )?great question[!.]"
    r"|(?:i'd be|i'm|i would be) happy to help(?: you)?(?: with that)?[!.]"
    r"|(?:gerne|nat\u00fcrlich|selbstverst\u00e4ndlich)! (?:hier ist|hier sind)\b"
    r"|(?:bien s\u00fbr|certainement) ?! voici\b|(?:claro|por supuesto)[!,.]+ ?(?:aqu\u00ed (?:tienes|est\u00e1))\b"
)
_CLOSINGS = (
    "hope this helps", "hope that helps", "let me know if you have any other question",
    "let me know if you have any further question", "let me know if you have any more question",
    "let me know if you have any question", "let me know if you need any further",
    "let me know if you need anything else", "if you have any other question", "if you have any further question",
    "if you have any more question", "feel free to ask", "feel free to reach out",
    "ich hoffe, das hilft", "ich hoffe, dass das hilft",
    "wenn du weitere fragen hast", "wenn sie weitere fragen haben", "falls sie weitere fragen haben",
    "j'esp\u00e8re que cela vous aide", "n'h\u00e9sitez pas \u00e0 me demander", "espero que esto te ayude",
    "espero que esto ayude",
)  # fmt: skip
_ANYWHERE = ("as an ai language model", "as a large language model", "as an artificial intelligence")
_GATES = ("helps", "know if", "if you have any", "feel free", "hoffe", "fragen", "cela vous", "sitez pas", "espero")
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00a0": " ", "\n": " ", "\t": " "})

_PROGRAM = re.compile(
    r"^(?: {4}|\t)\S|^\s*(?:def |class |import |from \S+ import |function\b|const |let |var |public |private )"
    r"|^\s*(?:#include|#!/|//|/\*|SELECT |INSERT INTO|CREATE TABLE|export |echo |apiVersion:|steps:|- name:)"
    r"|[;{]\s*$|=>|</\w+>|<\w+[^<>]{0,80}/?>$|\\(?:begin|frac|end|choose)\b|\{%|%\}|\$\{\{"
    r"|^\s*@\w+|\|\|.*\|\||\[\[",
    re.MULTILINE,
)
_SUBJECT = re.compile(
    r"\b(?:jinja\d?|handlebars|mustache|template (?:engine|literal|string|syntax|language|tag)s?"
    r"|placeholders?|variables?"
    r"|bash|javascript|typescript|python|java|vue(?:\.?js)?|angularjs|latex|bibtex|terraform|ansible|kubernetes|yaml"
    r"|maven|gradle|spring boot|django|flask|f-?strings?|interpolation|makefile|dockerfile|github actions|wikitext"
    r"|wiki markup|html|css|source (?:code|file)s?|regex|sql|xml|json|php|kotlin|golang|c\+\+|c#"
    r"|todo[- ]?(?:list|app|item|comment)s?)(?!\w)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Slot:
    """One way to write a place to be filled in; `anywhere`: also where the talk is of programs and templates."""

    gates: tuple[str, ...]
    search: re.Pattern[str]
    not_after: str = ""
    anywhere: bool = False


_SLOTS = (
    _Slot(("{{",), re.compile(r"\{\{ {0,3}[A-Za-z][\w .-]{0,40}\}\}(?!\})"), "\\\\${=`"),
    _Slot(("${",), re.compile(r"\$\{[A-Za-z][\w .-]{0,40}\}"), "\\\\$`"),
    _Slot(
        ("[",),
        re.compile(r"\[(?:(?i:insert|your|enter) [^\[\]\n|]{2,50}|INSERT|PLACEHOLDER|TODO|TBD|FIXME)\](?!\()"),
        "",
        True,
    ),
    _Slot(
        ("[",),
        re.compile(
            r"\[(?!INSERT |YOUR |ENTER )(?:(?:[A-Z]{2,12} ){0,3}(?:NAME|ADDRESS|COMPANY)|Name|Date"
            r"|City, State(?:, Zip(?: Code)?)?"
            r"|(?:Company|Recipient|Customer|Client|First|Last|Full|Manager|Product|Sender)(?:'s)? Name)\](?!\()"
        ),
    ),
    _Slot(("<",), re.compile(r"<(?i:your|insert|enter)[ _-][^<>\n/=\"]{2,40}>")),
    _Slot(("TODO:",), re.compile(r"TODO:"), "#/*"),
    _Slot(("TODO", "TBD", "FIXME"), re.compile(r"\A\s*(?:TODO|TBD|FIXME)[.!]?\s*\Z"), "", True),
    _Slot(("orem ipsum",), re.compile(r"orem ipsum dolor"), "", True),
)


_RARE = ("TODO", "TBD", "FIXME", "orem ipsum")


def opening_of(answer: str) -> str:
    """The beginning of an answer as it is compared: small letters, straight quotes."""
    opening = answer[:_HEAD].casefold()
    return (opening if opening.isascii() else opening.translate(_QUOTES)).lstrip(" \n*\"'")


def refuses(opening: str) -> bool:
    """Whether an answer that begins so declines to answer."""
    return _REFUSAL.match(opening) is not None


def boilerplate_in(answer: str, opening: str) -> str:
    """The stock phrase at the ends of an answer; empty where there is none."""
    found = _OPENINGS.match(opening)
    if found:
        return found.group().strip()
    closing = answer[-_TAIL:].casefold()
    if [gate for gate in _GATES if gate in closing]:
        closing = closing.translate(_QUOTES)
        for phrase in _CLOSINGS:
            if phrase in closing:
                return phrase
    if "anguage model" in answer or "rtificial" in answer:
        low = answer.casefold()
        return next((phrase for phrase in _ANYWHERE if phrase in low), "")
    return ""


def placeholders_in(texts: Sequence[str]) -> int:
    """How many places nobody filled in stand in the prose of one example's texts; in programs they are no fault."""
    whole = "\n".join(texts)
    if not ("{" in whole or "[" in whole or "<" in whole or [gate for gate in _RARE if gate in whole]):
        return 0
    found = [(text, slot, hit.span()) for text in texts for slot in _SLOTS for hit in _hits(slot, text)]
    found = [(text, slot, place) for text, slot, place in found if not _quoted(text, place[0])]
    if found and any(_SUBJECT.search(one[:4000]) for one in texts):
        found = [(text, slot, place) for text, slot, place in found if slot.anywhere]
    return sum(not _in_program(text, *place) for text, _, place in found)


def _hits(slot: _Slot, text: str) -> Iterator[re.Match[str]]:
    for gate in slot.gates:
        if gate in text:
            for hit in slot.search.finditer(text):
                before = text[: hit.start()].rstrip(" ")[-1:] if slot.not_after else ""
                if not before or before not in slot.not_after:
                    yield hit
            return


def _quoted(text: str, place: int) -> bool:
    """Whether a place stands in backticks, or in a fenced block."""
    if "`" not in text:
        return False
    line = text.rfind("\n", 0, place) + 1
    return text.count("```", 0, place) % 2 == 1 or text.count("`", line, place) % 2 == 1


def _in_program(text: str, start: int, end: int) -> bool:
    """Whether the lines around a place look like a program, a template or a formula."""
    return _PROGRAM.search(text[max(0, start - 400) : start] + "?" + text[end : end + 400]) is not None
