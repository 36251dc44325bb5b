"""The frozen model that a run starts from, as the config names it."""

from typing import Literal

from studio.core.catalog import STARTER_REPO
from studio.core.config.knob import Group, knob


class BaseModelConfig(Group):
    """The frozen model that the run starts from."""

    repo: str = knob(
        STARTER_REPO,
        "Base model",
        "The starter model, a folder on this machine, or an exact Hub id.",
        level="basic",
        min_length=1,
        max_length=500,
    )
    revision: str = knob(
        "main",
        "Revision",
        "Branch, tag or commit on the Hub; its commit is kept with the run.",
        min_length=1,
        max_length=200,
    )
    quantization: Literal["none", "int8", "nf4"] = knob(
        "none",
        "Base model in fewer bits",
        "nf4 keeps it in 4 bits: a third of the memory, about a tenth slower. int8 keeps it in 8 bits: half. "
        "The adapter stays whole either way.",
    )
    bnb_4bit_use_double_quant: bool = knob(
        True,
        "Double quantization",
        "With nf4: also packs the scales, 0.4 bits a weight less. Costs nothing you notice.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = knob(
        "auto",
        "Number format",
        "auto measures this machine and takes the fastest. bfloat16 halves the memory.",
    )
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = knob(
        "auto",
        "Attention",
        "auto takes the fastest that is installed. eager is slow and keeps the most; for models that need it.",
    )
    chat_template: Literal["auto", "plain", "chatml"] = knob(
        "auto",
        "Chat template",
        "auto takes the model's own; a base model has none and gets the plain one: User: and Assistant: lines. "
        "chatml needs a model that knows its two marks.",
    )
