"""Which token fills up and which ends an answer."""

import pytest

from studio.core.token_rules import token_rules

IDS = {"<pad>": 3, "</s>": 2, "[far]": 90}


@pytest.mark.parametrize(
    ("special", "pad_id", "rule", "end_id"),
    [
        ({"pad_token": "<pad>", "eos_token": "</s>"}, 3, "own", 2),
        ({"pad_token": "</s>", "eos_token": "</s>"}, 2, "own", 2),
        ({"eos_token": "</s>"}, 2, "end", 2),
        ({"pad_token": "[far]", "eos_token": "</s>"}, 2, "end", 2),
        ({"pad_token": "<unknown>"}, 0, "first", None),
        ({"eos_token": "[far]"}, 0, "first", None),
    ],
)
def test_the_pad_token_is_the_models_own_or_its_end_or_its_first(
    special: dict[str, str], pad_id: int, rule: str, end_id: int | None
) -> None:
    found = token_rules(special, IDS.get, vocabulary=91, embedding=64)
    assert (found.pad_id, found.pad_rule, found.end_id) == (pad_id, rule, end_id)
    assert found.has_room_for(found.pad_id) and found.beyond == 27


def test_a_model_that_does_not_say_its_size_has_room_for_every_token() -> None:
    found = token_rules({"pad_token": "[far]"}, IDS.get, vocabulary=91, embedding=0)
    assert (found.pad_id, found.beyond, found.has_room_for(10**6)) == (90, 0, True)
