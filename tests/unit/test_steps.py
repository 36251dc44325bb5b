"""What the steps of a recipe do to single examples."""

from studio.core.examples import Example
from studio.importing.steps import Effect, masked, ordered

USER, SAID = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}


def test_private_data_is_masked_in_words_calls_and_rejected_answers() -> None:
    call = {"type": "function", "function": {"name": "send", "arguments": {"to": ["anna.berg@firma.de"], "n": 2}}}
    said = {"role": "assistant", "content": "Sent to anna.berg@firma.de.", "tool_calls": [call]}
    effect = Effect({"do": "mask", "kind": "personal_data"})
    found = masked(7, Example([dict(USER), said], rejected=[{**SAID, "content": "To anna.berg@firma.de!"}]), effect)
    assert "anna.berg" not in repr(found) and found.messages[1]["tool_calls"][0]["function"]["arguments"]["n"] == 2
    assert (effect.count, effect.rows) == (1, [7]) and effect.samples[0]["after"] == "Sent to [email]."
    assert masked(8, Example([], text="Write to anna.berg@firma.de"), effect).text == "Write to [email]"
    clean = Example([dict(USER), dict(SAID)])
    assert masked(9, clean, effect) is clean and effect.rows == [7, 8]


def test_turns_are_put_in_order_where_something_is_left_to_learn() -> None:
    effect = Effect({"do": "mend", "kind": "role_order"})
    found = ordered(3, Example([SAID, USER, USER, SAID], label=True), effect)
    assert [message["role"] for message in found.messages] == ["user", "assistant"] and found.label
    assert effect.samples == [{"row": 3, "before": "assistant, user, user, assistant", "after": "user, assistant"}]
    alone = Example([USER, USER])
    assert ordered(4, alone, effect) is alone and effect.count == 1
