"""Kinds of findings: how grave they are, and the steps they offer."""

import pytest

from studio.core.findings import KINDS, fix, of_counts, rank, severity

MODEL = {"repo": "a/b", "revision": "main", "max_length": 64}
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
        ("short_answer", {"at_most": 3, "median": 90}, {"do": "drop", "kind": "short_answer"}),
        ("language_mix", {"languages": {"en": 9}, "looked_at": 9}, {"do": "drop", "kind": "language_mix"}),
        ("too_long", MODEL, {"do": "drop", "kind": "too_long", **MODEL}),
        ("short_answer", None, {"do": "drop", "kind": "short_answer"}),
        ("guessed_mapping", {}, None),
        ("unheard_of", {}, None),
    ],
)
def test_the_first_fix(kind: str, facts: dict | None, step: dict | None) -> None:
    assert fix(kind, facts) == step


def test_what_a_model_counted_becomes_findings_with_the_model_in_their_facts() -> None:
    counts = {"cut": 2, "no_end": 0, "refused": 1, "rows": {"too_long": [[7, 6], [9, 8]]}}
    found = {finding["kind"]: finding for finding in of_counts(counts, MODEL)}
    assert set(found) == {"too_long", "refused_by_template"}
    assert found["too_long"] == {"kind": "too_long", "count": 2, "rows": [7, 9], "examples": [6, 8], "facts": MODEL}
    assert found["refused_by_template"]["rows"] == []


def test_the_grave_ones_come_first() -> None:
    ordered = sorted([*KINDS, "unheard_of"], key=rank)
    assert ordered[:2] == ["secret", "leakage"]
    assert [severity(kind) for kind in ordered] == sorted(
        (severity(kind) for kind in ordered), key=("bad", "warn", "plain").index
    )
