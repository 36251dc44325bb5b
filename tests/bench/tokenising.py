"""`python -m tests.bench.tokenising --model FOLDER`: examples to ids and labels, against a bare batch loop.

Peers, with the very same tokenizer on the same cores: `bare` is `tokenizers.Tokenizer.encode_batch` over texts that are
rendered already, ids read, nothing else; `rendering` is transformers' `apply_chat_template` and the fast tokenizer's
own batch call, as a script would do it (no labels).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from studio.core.examples import Example
from studio.core.learning import learn_all
from studio.core.machine import processor_name
from studio.core.template import render
from studio.core.tokenizer import load_chat
from tests.bench.chat_examples import chats

BATCH = 256


def measure(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Tokens per second of each (medians of interleaved rounds) and our ratios to the peers."""
    found, chat = chats(count), load_chat(folder)
    texts = [render(chat.template, messages).text for messages in found]
    examples = [Example(messages) for messages in found]
    bare, fast = Tokenizer.from_file(str(folder / "tokenizer.json")), AutoTokenizer.from_pretrained(folder)

    def by_bare() -> int:
        batches = (texts[i : i + BATCH] for i in range(0, count, BATCH))
        return sum(len(one.ids) for batch in batches for one in bare.encode_batch(batch, add_special_tokens=False))

    def by_rendering() -> int:
        total = 0
        for i in range(0, count, BATCH):
            rendered = [fast.apply_chat_template(one, tokenize=False) for one in found[i : i + BATCH]]
            total += sum(map(len, fast(rendered, add_special_tokens=False)["input_ids"]))
        return total

    def by_tunesmith() -> int:
        return sum(len(one.ids) for one in learn_all(examples, chat))

    runners: dict[str, Callable[[], int]] = {"bare": by_bare, "rendering": by_rendering, "tunesmith": by_tunesmith}
    speeds: dict[str, list[float]] = {name: [] for name in runners}
    tokens: set[int] = set()
    for _ in range(rounds):
        for name, run in runners.items():
            began = time.perf_counter()
            counted = run()
            speeds[name].append(counted / (time.perf_counter() - began))
            tokens.add(counted)
    assert len(tokens) == 1, "all count the same tokens"
    medians = {name: round(statistics.median(values)) for name, values in speeds.items()}
    ratios = {f"to_{name}": round(medians["tunesmith"] / medians[name], 3) for name in ("bare", "rendering")}
    return {"processor": processor_name(), "examples": count, "tokens": tokens.pop(), "tokens_per_s": medians, **ratios}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a model folder with tokenizer and chat template")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    sys.stdout.write(json.dumps(measure(asked.model, asked.examples, asked.rounds)) + "\n")


if __name__ == "__main__":
    main()
