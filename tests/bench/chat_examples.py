"""Chats as people have them, made anew each time: no two alike, about 900 bytes each as JSON."""

import random
from typing import Any

_SAID = (
    "the order was sent on monday but came only two days later because of a storm near the coast and nobody could "
    "say when it would leave please tell me how long this takes what it costs and whether I may send back what does "
    "not fit thank you for your patience we have found your parcel it lies in our depot and goes out today with the "
    "first tour you will get a message as soon as it is on its way is there anything else that we can do for you"
)


def chats(count: int, seed: int = 0) -> list[list[dict[str, Any]]]:
    """`count` chats of two to six turns; every second one has a system turn."""
    rng = random.Random(seed)
    return [_chat(rng, n) for n in range(count)]


def _chat(rng: random.Random, number: int) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    if number % 2:
        turns.append({"role": "system", "content": "You answer for a shop, in short and friendly sentences."})
    for _ in range(rng.randint(1, 3)):
        turns.append({"role": "user", "content": _text(rng, 25) + "?"})
        turns.append({"role": "assistant", "content": _text(rng, 45) + "."})
    return turns


def _text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_SAID.split(), k=rng.randint(words // 2, words * 3 // 2))).capitalize()
