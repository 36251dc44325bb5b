"""Files from a grammar, with what chance and ill will do to them: each ends with an answer or a sentence, soon.

More of them: `python -m tests.integration.test_hostile_files --rounds 500`.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from studio.core.errors import StudioError
from studio.core.formats import shown_name
from studio.core.reader import ask
from studio.core.settings import Settings
from tests.integration.grammar import hostile_file

ROUNDS, LONGEST_S = 40, 10.0
_WORDS = st.sampled_from(
    ["hello", "wörld", "\U0001f600", '"quoted"', "it's", "a,b;c\td|", "x\ny", "{{name}}", "[1]", "\\", "\ud800", "\x00",
     "=1", "NaN", "", "."]
)  # fmt: skip
_TEXT = st.lists(_WORDS, max_size=8).map(" ".join)
_TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": _TEXT}),
    min_size=1, max_size=4,
)  # fmt: skip
ROWS = st.one_of(
    st.lists(st.fixed_dictionaries({"question": _TEXT, "answer": _TEXT}), min_size=1, max_size=30),
    st.lists(st.fixed_dictionaries({"messages": _TURNS, "n": st.sampled_from([1, 2])}), min_size=1, max_size=15),
    st.lists(st.fixed_dictionaries({"text": _TEXT}, optional={"split": st.just("test")}), min_size=1, max_size=30),
)
SAID: Counter[str] = Counter()


def answered(request: dict[str, Any], house: Settings, folder: Path) -> dict[str, Any] | None:
    """The child's answer; None where it refused in a fit sentence, in time."""
    started = time.monotonic()
    try:
        return ask(request, house)
    except StudioError as error:
        words = f"{error.problem} {error.remedy}"
        assert error.problem and error.remedy, words
        # This sentence stands for a child that died of something nobody thought of.
        assert not error.problem.endswith("could not be read."), words
        assert str(folder) not in words and "Traceback" not in words and "\n" not in words and "\x1b" not in words, (
            words
        )
        SAID[error.problem.replace(shown_name(request["name"]), "X")[:40]] += 1
        return None
    finally:
        assert time.monotonic() - started < LONGEST_S


def check(folder: Path, rows: list[dict[str, Any]], chance: random.Random) -> None:
    """Inspect a hostile file and, where that goes well, import it as it was understood."""
    name, content = hostile_file(chance, rows)
    house = Settings(data_dir=folder)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "original"
        path.write_bytes(content)
        request = {"do": "inspect", "source": str(path), "name": name}
        found = answered(request, house, folder)
        if found is None:
            return
        json.dumps(found)
        out = Path(place) / "out"
        again = {**request, "do": "import", "mapping": found["mapping"], "out": str(out)}
        report = answered(again, house, folder)
        if report is not None:
            assert report["read"] == report["kept"] + report["dropped"] and (out / "data.parquet").exists()
            SAID[f"imported {report['container']}"] += 1


def run(folder: Path, rounds: int) -> None:
    """`rounds` files of the grammar."""

    @settings(
        max_examples=rounds, deadline=None, database=None, phases=[Phase.generate], derandomize=rounds == ROUNDS,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(ROWS, st.randoms(use_true_random=False))
    def each(rows: list[dict[str, Any]], chance: random.Random) -> None:
        check(folder, rows, chance)

    each()


def test_every_hostile_file_ends_with_an_answer_or_a_sentence(tmp_path: Path) -> None:
    run(tmp_path, ROUNDS)
    assert sum(SAID.values()) >= ROUNDS and any(said.startswith("imported") for said in SAID)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as home:
        begun = time.monotonic()
        run(Path(home), parser.parse_args().rounds)
    print(f"{time.monotonic() - begun:.0f} s", *sorted(f"{count:5} {said}" for said, count in SAID.items()), sep="\n")
