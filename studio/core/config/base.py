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
        "Branch, tag or commit on the Hub; its commit is kept with the run. Costs nothing.",
        min_length=1,
        max_length=200,
    )
    quantization: Literal["none", "int8", "nf4"] = knob(
        "none",
        "Base model in fewer bits",
        "4 bits need a third of the memory and are about a tenth slower, 8 bits need half. The quality hardly suffers: "
        "the adapter stays whole either way.",
        names={"none": "No, as it is", "int8": "8 bits (int8)", "nf4": "4 bits (nf4)"},
    )
    bnb_4bit_use_double_quant: bool = knob(
        True,
        "Double quantization",
        "With 4 bits: also packs their scales, 0.4 bits a weight less. Costs nothing you notice.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = knob(
        "auto",
        "Number format",
        "bfloat16 halves the memory and is faster where the machine can do it; measured, the fastest is taken.",
        names={"auto": "Measured here", "float32": "float32", "bfloat16": "bfloat16"},
    )
    attn_implementation: Literal["auto", "sdpa", "eager", "flash_attention_2"] = knob(
        "auto",
        "Attention",
        "Changes speed and memory, never the result. eager is slow and keeps the most; for models that need it.",
        names={"auto": "The fastest here", "sdpa": "PyTorch (sdpa)", "eager": "Plain (eager)",
               "flash_attention_2": "Flash attention 2"},
    )  # fmt: skip
    chat_template: Literal["auto", "plain", "chatml"] = knob(
        "auto",
        "Chat template",
        "auto takes the model's own; a base model has none and gets the plain one: User: and Assistant: lines. "
        "chatml needs a model that knows its two marks. Costs nothing.",
        names={"auto": "The model's own", "plain": "Plain lines", "chatml": "ChatML"},
    )
