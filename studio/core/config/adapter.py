"""The adapter that a run makes, as `peft.LoraConfig` takes it; or the whole model, fully fine-tuned."""

from typing import Literal

from studio.core.config.knob import Finite, Group, knob

WHERE = "Where it learns"


class AdapterConfig(Group):
    """LoRA and its kin, as `peft.LoraConfig` takes them; `tuner` full trains the whole model instead."""

    tuner: Literal["lora", "full"] = knob(
        "lora",
        "What is trained",
        "Every weight takes several times the memory and more time, and forgets more easily.",
        names={"lora": "A small adapter (LoRA)", "full": "Every weight of the model"},
    )
    r: int = knob(
        16, "Adapter rank", "Higher can learn more, costs memory and a little speed (r).", level="basic", ge=1, le=512
    )
    lora_alpha: Finite = knob(
        32, "Adapter scale", "How strongly the adapter speaks, usually twice the rank (lora_alpha). Costs nothing.",
        gt=0, le=4096,
    )  # fmt: skip
    lora_dropout: Finite = knob(
        0.0, "Dropout", "Share of the adapter switched off at random: calms small data, and costs memory and speed.",
        ge=0, le=0.9,
    )  # fmt: skip
    target_modules: str = knob(
        "all-linear",
        "Where it learns",
        "The kinds of layers that get an adapter. Fewer need less memory, are faster and learn less.",
        part=WHERE,
        min_length=1,
        max_length=500,
    )
    use_rslora: bool = knob(
        False, "Rank-stabilised scale", "Divides the scale by the root of the rank: for ranks of 64 and more. Is free."
    )
    use_dora: bool = knob(
        False, "DoRA", "Also learns how long each weight vector is: often better at low ranks, up to twice as slow."
    )
    init_lora_weights: Literal["default", "pissa"] = knob(
        "default",
        "First weights",
        "PiSSA starts from the base's strongest directions: learns faster, takes minutes to start on large models.",
        names={"default": "Usual", "pissa": "PiSSA"},
    )
    layers_to_transform: str = knob(
        "", "Which blocks", "Numbers of the model's blocks (0-5, 8); empty means all. Fewer need less memory and time.",
        part=WHERE, max_length=200,
    )  # fmt: skip
    modules_to_save: str = knob(
        "", "Also trained whole", "Layers trained as they are, with commas (lm_head, embed_tokens). Costs much memory.",
        part=WHERE, max_length=500,
    )  # fmt: skip
    bias: Literal["none", "all", "lora_only"] = knob(
        "none",
        "Biases",
        "Costs almost nothing, and changes the base model even when the adapter is off.",
        part=WHERE,
        names={"none": "Not trained", "all": "All of them", "lora_only": "Those of adapted layers"},
    )
    continue_from: str = knob(
        "",
        "Continue from",
        "A finished run whose adapter is trained further, with its rank, scale and layers. Costs nothing more.",
        max_length=200,
    )
