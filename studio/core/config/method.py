"""How a run learns, as TRL's trainers take it: from answers, from comparisons, or from judged answers."""

from typing import Literal

from studio.core.config.knob import Finite, Group, knob


class MethodConfig(Group):
    """What is learnt from an example. `name` chooses TRL's trainer; the dataset must match it."""

    name: Literal["sft", "dpo", "kto", "orpo"] = knob(
        "sft",
        "Method",
        "sft learns answers. dpo and orpo learn from a better and a worse answer, kto from answers judged good or bad. "
        "dpo and kto read every example twice more, with the base model.",
    )
    learn: Literal["answers", "last_answer", "everything"] = knob(
        "answers",
        "What is learnt",
        "answers: all of the assistant's turns. last_answer: only the last. everything: also what is asked (sft).",
    )
    beta: Finite = knob(
        0.1,
        "Closeness to the base",
        "For dpo, kto and orpo: higher stays closer to the base model (beta).",
        gt=0,
        le=10,
    )
    loss_type: Literal["sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down"] = knob(
        "sigmoid", "Loss of comparisons", "For dpo. robust forgives wrong labels (see label smoothing); ipo is calmer."
    )
    label_smoothing: Finite = knob(
        0.0, "Label smoothing", "For dpo: the share of comparisons that may be the wrong way round.", ge=0, lt=0.5
    )
    desirable_weight: Finite = knob(
        1.0, "Weight of good answers", "For kto: raise it where good ones are few.", gt=0, le=100
    )
    undesirable_weight: Finite = knob(
        1.0, "Weight of bad answers", "For kto: raise it where bad ones are few.", gt=0, le=100
    )
