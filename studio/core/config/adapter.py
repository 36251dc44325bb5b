"""The adapter that a run makes, as `peft.LoraConfig` takes it; or the whole model, fully fine-tuned."""

from typing import Literal

from studio.core.config.knob import Finite, Group, knob


class AdapterConfig(Group):
    """LoRA and its kin, as `peft.LoraConfig` takes them; `tuner` full trains the whole model instead."""

    tuner: Literal["lora", "full"] = knob(
        "lora",
        "What is trained",
        "lora trains a small adapter. full trains every weight: several times the memory, and forgets more easily.",
    )
    r: int = knob(16, "Adapter rank", "Higher can learn more and costs memory (r).", level="basic", ge=1, le=512)
    lora_alpha: Finite = knob(32, "Adapter scale", "Usually twice the rank (lora_alpha).", gt=0, le=4096)
    lora_dropout: Finite = knob(
        0.0, "Dropout", "Share of the adapter switched off at random: calms, and costs memory and speed.", ge=0, le=0.9
    )
    target_modules: str = knob(
        "all-linear",
        "Where it learns",
        "all-linear, or names of layers with commas (q_proj, v_proj). Fewer layers need less memory and learn less.",
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
        "pissa starts from the base's strongest directions: learns faster, takes minutes to start on large models.",
    )
    layers_to_transform: str = knob(
        "", "Which blocks", "Numbers of the model's blocks (0-5, 8); empty means all. Fewer need less memory.",
        max_length=200,
    )  # fmt: skip
    modules_to_save: str = knob(
        "", "Also trained whole", "Layers trained as they are, with commas (lm_head, embed_tokens). Costs much memory.",
        max_length=500,
    )  # fmt: skip
    bias: Literal["none", "all", "lora_only"] = knob(
        "none", "Biases", "Which biases are trained too. Changes the base model when the adapter is off."
    )
    continue_from: str = knob(
        "",
        "Continue from",
        "A finished run whose adapter is trained further; empty starts a fresh one.",
        max_length=200,
    )
