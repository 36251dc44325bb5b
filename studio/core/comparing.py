"""Which methods take which datasets, and the two sides of a comparison as examples of their own. Pure."""

from dataclasses import replace

from studio.core.errors import Fault
from studio.core.examples import Example

COMPARISONS, JUDGED, PLAIN = "comparisons", "judged answers", "plain answers"
_SHAPES = {"preference": COMPARISONS, "openai_preference": COMPARISONS, "unpaired_preference": JUDGED}
_TAKES = {"sft": (PLAIN, COMPARISONS), "dpo": (COMPARISONS,), "orpo": (COMPARISONS,), "kto": (JUDGED,)}
_NEEDS = {
    COMPARISONS: "a better and a worse answer for each question (columns such as chosen and rejected)",
    JUDGED: "answers that are each judged good or bad (a column such as label)",
}
_FITTING = {COMPARISONS: "DPO or ORPO", JUDGED: "KTO", PLAIN: "SFT"}


def shape_of(format_name: str) -> str:
    """What a dataset holds, by the format that its import named: comparisons, judged answers, or examples."""
    return _SHAPES.get(format_name, PLAIN)


def method_faults(method: str, format_name: str) -> list[Fault]:
    """Why `method` can not learn from a dataset of this format; empty where it can."""
    return unfit(method, shape_of(format_name))


def unfit(method: str, shape: str) -> list[Fault]:
    """As `method_faults`, for what a dataset holds."""
    if shape in _TAKES[method]:
        return []
    way_out = f"Choose {_FITTING[shape]}, or another dataset."
    if method == "sft":
        return [
            Fault("method.name", "This dataset holds judged answers, and SFT would learn the bad ones too.", way_out)
        ]
    needed = _NEEDS[_TAKES[method][0]]
    return [Fault("method.name", f"{method.upper()} needs {needed}; this dataset holds {shape}.", way_out)]


def learns(method: str, learn: str) -> str:
    """Which words are learnt: methods that compare take the last answer, sft what the config says."""
    return learn if method == "sft" else "last_answer"


def worse_side(example: Example) -> Example:
    """The same question with the answer that was not preferred."""
    assert example.rejected is not None
    return Example([*example.messages[: -own_answer(example)], *example.rejected], tools=example.tools)


def own_answer(example: Example) -> int:
    """How many messages at the end are the preferred answer: those from the last question on."""
    last = max((i for i, m in enumerate(example.messages) if m["role"] != "assistant"), default=-1)
    return len(example.messages) - 1 - last


def better_side(example: Example) -> Example:
    """The question with the preferred answer, as an example of its own."""
    return replace(example, rejected=None)
