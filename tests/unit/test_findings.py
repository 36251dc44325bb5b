"""Kinds of findings: how grave they are, and the steps they offer."""

import json

import pytest

from studio.core.findings import KINDS, fix, fixes, rank, severity

NAMED = {
    "duplicate", "near_duplicate", "role_order", "short_answer", "refusal", "boilerplate", "placeholder", "secret",
    "personal_data", "leakage", "language_mix", "control_characters", "mixed_types", "equal_columns",
    "guessed_mapping", "too_long", "no_end_of_turn", "refused_by_template", "nothing_learnt",
}  # fmt: skip


def test_every_kind_of_the_contract_is_known() -> None:
    assert set(KINDS) == NAMED
    assert {severity(kind) for kind in KINDS} == {"bad", "warn", "plain"}


@pytest.mark.parametrize(
    ("kind", "facts", "step"),
    [
        ("secret", {}, {"do": "mask", "kind": "secret"}),
        ("personal_data", {}, {"do": "mask", "kind": "personal_data"}),
        ("role_order", {}, {"do": "mend", "kind": "role_order"}),
        ("duplicate", {"pairs": [[1, 2]]}, {"do": "drop", "kind": "duplicate"}),
        ("short_answer", {"at_most": 3, "median": 90}, {"do": "drop", "kind": "short_answer", "at_most": 3}),
        ("language_mix", {"keep": "en", "looked_at": 9}, {"do": "drop", "kind": "language_mix", "keep": "en"}),
        ("short_answer", None, {"do": "drop", "kind": "short_answer"}),
        ("guessed_mapping", {}, None),
        ("unheard_of", {}, None),
    ],
)
def test_the_first_fix(kind: str, facts: dict | None, step: dict | None) -> None:
    assert fix(kind, facts) == step


def test_steps_can_be_recorded_and_are_told_apart() -> None:
    for kind in KINDS:
        steps = fixes(kind, {"at_most": 3})
        assert json.loads(json.dumps(steps)) == steps
        assert len({step["do"] for step in steps}) == len(steps)


def test_the_grave_ones_come_first() -> None:
    ordered = sorted([*KINDS, "unheard_of"], key=rank)
    assert ordered[:2] == ["secret", "leakage"]
    assert [severity(kind) for kind in ordered] == sorted(
        (severity(kind) for kind in ordered), key=("bad", "warn", "plain").index
    )
