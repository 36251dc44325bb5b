"""One example as the model reads it, and how long all of them are. Values of the sandbox in, markup out."""

from typing import Any

from studio.ui.markup import Markup, Text, facts, join, more, muted, share_of, state
from studio.ui.units import count, percent

WHO = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool", "text": "Text"}


def token_view(seen: dict[str, Any], view: str) -> Markup:
    """The turns of a preview. `view` is "Tokens" (each token and mark by itself) or "Text" (without the marks).

    Learnt tokens have colour and a line below, marks of the template a frame; what is cut is grey behind a mark.
    """
    as_text = view == "Text"
    shown = [*seen["turns"], *seen.get("rejected", [])]
    some_cut = any(one.get("cut") for turn in shown for one in turn["tokens"])
    kind = "text" if as_text else "tokens"
    parts = [legend(some_cut), verdict(seen.get("label")), turns_view(seen["turns"], as_text), summary(seen)]
    if seen.get("rejected"):
        words = Markup("<h3>Not preferred</h3><p>What the model is to move away from, after the same question.</p>")
        other = turns_view(seen["rejected"], as_text)
        parts.append(Markup('<div class="rejected">{}{}</div>').format(words, other))
    return Markup('<div class="ts-tokens ts-tokens--{}">{}</div>').format(kind, join(parts))


def legend(some_cut: bool) -> Markup:
    """What the marks mean; the one of what is cut only where something is."""
    cut = Markup('<span><span class="tok cut">cut</span>never read</span>') if some_cut else Markup("")
    return Markup(
        '<p class="legend"><span><span class="tok learnt">learnt</span>the model is taught to write it</span>'
        '<span><span class="tok">read</span>only read</span>{}</p>'
    ).format(cut)


def verdict(label: bool | None) -> Markup:
    """Of a judged answer: what was said of it."""
    if label is None:
        return Markup("")
    words = (
        "Judged good: the model is to move towards it." if label else "Judged bad: the model is to move away from it."
    )
    return Markup('<p class="verdict">{}{}</p>').format(state("succeeded" if label else "failed", words=False), words)


def turns_view(turns: list[dict[str, Any]], as_text: bool) -> Markup:
    """The turns below each other; where the cut begins stands a mark, once."""
    parts, begun = [], False
    for turn in turns:
        parts.append(turn_view(turn, as_text, not begun))
        begun = begun or any(one.get("cut") for one in turn["tokens"])
    return join(parts)


def turn_view(turn: dict[str, Any], as_text: bool, mark_cut: bool = True) -> Markup:
    """One message with its tokens. As text without the marks, and without the line break that ends it."""
    pieces = [one for one in turn["tokens"] if not (as_text and (one["special"] or one["role_mark"]))]
    while as_text and pieces and not pieces[-1]["text"].strip():
        pieces.pop()
    first = next((i for i, one in enumerate(pieces) if one.get("cut")), None) if mark_cut else None
    cells = [token(piece, as_text) for piece in pieces]
    if first is not None:
        cells.insert(first, Markup('<span class="cuthere">cut here</span>'))
    who = WHO.get(turn["role"], turn["role"] or "Text")
    unlearnt = turn["role"] == "assistant" and not turn["learnt"]
    tag = Markup("<small>not learnt</small>") if unlearnt else Markup("")
    words = Markup('<div class="turn"><span class="who">{}{}</span><p class="text">{}</p></div>')
    return words.format(who, tag, join(cells))


def token(piece: dict[str, Any], as_text: bool) -> Markup:
    """One token; a line break is a sign among tokens, and a break in the text."""
    kind = " special" if piece["special"] else " role" if piece["role_mark"] else ""
    words = piece["text"] if as_text else piece["text"].replace("\n", "↵")
    more = (" learnt" if piece["learnt"] else "") + (" cut" if piece.get("cut") else "")
    return Markup('<span class="tok{}{}">{}</span><wbr>').format(kind, more, words)


def summary(seen: dict[str, Any]) -> Markup:
    """How many tokens, and whether the end of the answer is learnt."""
    cut = f"{count(seen['cut'], 'token')} cut at the end" if seen["cut"] else "none cut"
    words = f"{count(seen['tokens'], 'token')}, {count(seen['learnt'])} of them learnt, {cut}. "
    if not seen["learnt"]:
        return muted(words + "Nothing of this example is learnt.")
    if seen["ends"]:
        return muted(words + "The end of the answer is learnt too, so the model will know when to stop.")
    return muted(words + "The end of the answer is not learnt, so this example does not teach when to stop.")


def in_numbers(counts: dict[str, Any], turns: dict[str, Any]) -> Markup:
    """Beside the histogram: how much is learnt, how much is cut, how many turns a chat has."""
    tokens, lost = counts.get("tokens", 0), counts.get("cut_tokens", 0)
    lost_words = f"{count(lost, 'token')} of {count(counts['cut'], 'example')}" if lost else "nothing"
    average = float(turns.get("average") or 0)
    pairs: list[tuple[Text, Text]] = [
        ("Tokens", small(count(tokens), f"{count(counts.get('average', 0))} on average")),
        ("Learnt", small(percent(share_of(counts.get("learnt", 0), tokens)), count(counts.get("learnt", 0), "token"))),
        ("Cut away", small(percent(share_of(lost, tokens + lost)), lost_words)),
        ("Longest", small(count(counts.get("longest", 0)), "tokens")),
    ]
    if average:
        pairs.append(("Turns", small(f"{average:.3g}", f"on average, {count(turns.get('most', 0))} at most")))
    return facts(pairs)


def small(value: str, more: str) -> Markup:
    """A figure with words beneath."""
    return Markup("{}<small>{}</small>").format(value, more)


def histogram(counts: dict[str, Any], cut_at: int) -> Markup:
    """How many examples have how many tokens, before the cut at `cut_at` tokens, with its numbers to unfold."""
    width, heights, parts = counts["histogram"]["width"], *ticked(counts["histogram"]["counts"])
    whole, most = width * len(heights), max(heights)
    over = Markup(' class="over"')
    bar = Markup('<i style="height:{:.1f}%{}"{}></i>')
    bars = join(
        bar.format(100 * height / most, "" if height else ";min-height:0", over if i * width >= cut_at else "")
        for i, height in enumerate(heights)
    )
    mark = Markup("")
    if cut_at < whole:
        side = (
            Markup(";border-left:0;border-right:1px dashed;padding:0 6px 0 0;translate:-100%")
            if cut_at > 0.8 * whole
            else ""
        )
        mark = Markup('<em style="left:{:.1%}{}">Cut at {:,}</em>').format(cut_at / whole, side, cut_at)
    words = f"{count(counts['counted'], 'example')} from 0 to {whole:,} tokens. The table below has the numbers."
    ticks = join(Markup("<span>{:,.0f}</span>").format(whole * part / parts) for part in range(parts))
    return Markup(
        '<div class="ts-hist"><div class="bars" role="img" aria-label="{}">{}</div>{}'
        "<p>{}<span>{:,} tokens</span></p></div>{}"
    ).format(words, bars, mark, ticks, whole, more("Show the numbers", numbers(width, heights)))


def ticked(heights: list[int]) -> tuple[list[int], int]:
    """The bars, with an empty one or two behind where that makes even ticks, and into how many parts they go."""
    bars = list(heights)
    while len(bars) > 3 and not any(len(bars) % parts == 0 for parts in (4, 5, 3)):
        bars.append(0)
    return bars, next((parts for parts in (4, 5, 3) if len(bars) % parts == 0), len(bars))


def numbers(width: int, heights: list[int]) -> Markup:
    """The histogram as a table."""
    rows = join(
        Markup("<tr><td>{:,} to {:,}</td><td>{:,}</td></tr>").format(i * width, (i + 1) * width - 1, height)
        for i, height in enumerate(heights)
    )
    return Markup(
        '<table class="ts-numbers"><caption>Examples by length</caption>'
        '<thead><tr><th scope="col">Tokens</th><th scope="col">Examples</th></tr></thead><tbody>{}</tbody></table>'
    ).format(rows)
