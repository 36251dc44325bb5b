"""Which token fills a batch up and which one ends an answer, where a model leaves that open. Pure.

What fills up is masked wherever we train and answer, so the end token may serve. A tokenizer may know more tokens than
the model has room for; the model must never be given those.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

PadRule = Literal["own", "end", "first"]


@dataclass(frozen=True)
class TokenRules:
    """`pad_rule`: the model's own pad token, else its end token, else the first token. `end_id`: None without one.

    `vocabulary` is one more than the tokenizer's highest id, `embedding` how many the model has room for (0: unknown).
    """

    pad_id: int
    pad_rule: PadRule
    end_id: int | None
    vocabulary: int
    embedding: int

    @property
    def beyond(self) -> int:
        """How many ids of the tokenizer the model has no place for."""
        return max(0, self.vocabulary - self.embedding) if self.embedding else 0

    def has_room_for(self, token: int) -> bool:
        """Whether the model has a place for this id."""
        return not self.embedding or token < self.embedding


def token_rules(
    special: Mapping[str, str], id_of: Callable[[str], int | None], vocabulary: int, embedding: int
) -> TokenRules:
    """The rules for a tokenizer with these named tokens (`pad_token`, `eos_token`); `id_of` gives a token's id."""

    def usable(name: str) -> int | None:
        found = id_of(special[name]) if name in special else None
        return found if found is not None and (not embedding or 0 <= found < embedding) else None

    own, end = usable("pad_token"), usable("eos_token")
    if own is not None:
        return TokenRules(own, "own", end, vocabulary, embedding)
    if end is not None:
        return TokenRules(end, "end", end, vocabulary, embedding)
    return TokenRules(0, "first", None, vocabulary, embedding)
