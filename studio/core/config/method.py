"""How a run learns, as TRL's trainers take it: from answers, from comparisons, or from judged answers."""

from typing import Literal

from studio.core.config.knob import Finite, Group, knob


class MethodConfig(Group):
    """What is learnt from an example. `name` chooses TRL's trainer; the dataset must match it."""

    name: Literal["sft", "dpo", "kto", "orpo"] = knob(
        "sft",
        "Method",
        "The data decides: answers, a better and a worse answer, or answers judged good or bad. DPO and KTO read every "
        "example once more with the base model: half as fast, and more memory.",
        names={"sft": "Learn answers (SFT)", "dpo": "Prefer the better answer (DPO)",
               "kto": "Good and bad answers (KTO)", "orpo": "Learn and prefer at once (ORPO)"},
    )  # fmt: skip
    learn: Literal["answers", "last_answer", "everything"] = knob(
        "answers",
        "What is learnt",
        "Answers alone keep the quality of the model best; everything also learns to ask, and takes more time.",
        names={"answers": "All answers", "last_answer": "The last answer", "everything": "Questions too"},
    )
    beta: Finite = knob(
        0.1,
        "Closeness to the base",
        "Higher stays closer to the base model and learns less of the data (beta). Costs nothing.",
        gt=0,
        le=10,
    )
    loss_type: Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = knob(
        "sigmoid",
        "Loss of comparisons",
        "sigmoid is the usual one, ipo is calmer, robust forgives wrong labels (see label smoothing). All cost the "
        "same.",
    )
    label_smoothing: Finite = knob(
        0.0,
        "Label smoothing",
        "The share of comparisons that may be the wrong way round: calms noisy data. Costs nothing.",
        ge=0,
        lt=0.5,
    )
    desirable_weight: Finite = knob(
        1.0, "Weight of good answers", "Raise it where good ones are few. Costs nothing.", gt=0, le=100
    )
    undesirable_weight: Finite = knob(
        1.0, "Weight of bad answers", "Raise it where bad ones are few. Costs nothing.", gt=0, le=100
    )
