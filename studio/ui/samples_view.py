"""A few held-out prompts and how they were answered along the way: progress that can be read. Pure."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from studio.core.stores.series import Sample
from studio.ui.markup import NOTHING, Markup, cardhead, join, muted, state

MOST_LENGTH = 600
LATER = "The model in training answers at checks, where that costs little of the time, and at the end."
MOST_ROWS = 7  # of one prompt: the base model, and the newest


def samples_card(found: Mapping[int, Sequence[Sample]]) -> Markup:
    """Each prompt with the answers by step, and what is expected; nothing while there is none."""
    if not found:
        return Markup("")
    prompts = max(len(answers) for answers in found.values())
    blocks = join(prompt_block([(step, at[i]) for step, at in found.items() if i < len(at)]) for i in range(prompts))
    head = cardhead("Answers on the way", muted("Prompts that it never learns from"))
    more = NOTHING if max(found) else muted(LATER)
    return Markup('<div class="ts-card ts-answers">{}{}{}</div>').format(head, blocks, more)


def prompt_block(answers: Sequence[tuple[int, Sample]]) -> Markup:
    """One prompt: answers that stay the same from check to check stand once."""
    rows = []
    for _, same in groupby(answers, key=lambda pair: pair[1].answer):
        steps, samples = zip(*same, strict=True)
        rows.append(row(span(steps), samples[0]))
    if len(rows) > MOST_ROWS:
        rows = [rows[0], *rows[1 - MOST_ROWS :]]
    first = answers[0][1]
    wanted = Markup('<li class="wanted"><span>Expected</span><p>{}</p></li>').format(short(first.reference))
    return Markup("<section><h3>{}</h3><ol>{}{}</ol></section>").format(short(first.asked), join(rows), wanted)


def row(at: str, sample: Sample) -> Markup:
    """One answer; the one that is expected has a mark and a word."""
    right = sample.answer.strip() == sample.reference.strip()
    mark = Markup("<em>{}as expected</em>").format(state("succeeded", words=False)) if right else ""
    words = short(sample.answer) or "(nothing)"
    return Markup('<li class="{}"><span>{}</span><p>{}{}</p></li>').format("right" if right else "", at, words, mark)


def span(steps: Sequence[int]) -> str:
    """ "Base model", "Base model to step 12", "Step 20", "Steps 40 to 90"."""
    if steps[0] == 0:
        return "Base model" + (f" to step {steps[-1]:,}" if len(steps) > 1 else "")
    return f"Step {steps[0]:,}" if len(steps) == 1 else f"Steps {steps[0]:,} to {steps[-1]:,}"


def short(text: str) -> str:
    """A text cut to what the card can hold."""
    return text if len(text) <= MOST_LENGTH else text[:MOST_LENGTH] + " …"
