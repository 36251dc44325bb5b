"""`python -m tests.chaos --rounds N --seed S --json`: rounds of submitting, killing, restarting, judging."""

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.points import all_points
from tests.chaos.rounds import Chaos


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of random kills.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed draws the same plan.")] = 0,
    trainer: Annotated[
        str, typer.Option(help="standin (keeps the protocol only) or real (trains the tiny model).")
    ] = "standin",
    points: Annotated[
        str, typer.Option(help="Also die once at failpoints: all, a number of them drawn by the seed, or NAME,NAME.")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="Also find the disk full once at every write of a run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Kill the studio and look whether a run is lost, doubled or told wrongly. Exit code 1 where one is."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tunesmith-chaos-") as folder:
        chaos = Chaos(Path(folder), trainer, random.Random(seed), lambda words: print(words, file=sys.stderr))
        named = drawn(points or "all", seed)
        try:
            for number in range(rounds):
                chaos.round(number)
            missed = chaos.every_point(named) if points else []
            missed += chaos.every_full(named) if full else []
        except Exception:
            print(chaos.stage.last_words(), file=sys.stderr)
            raise
        finally:
            chaos.close()
        report = {**chaos.report(), "seed": seed, "trainer": trainer, "seconds": round(time.monotonic() - began, 1)}
    if points or full:
        report |= {"points": len(named), "points_missed": missed}
    print(json.dumps(report) if as_json else "\n".join(f"{name}: {value}" for name, value in report.items()))
    for words in chaos.findings.all:
        print(words, file=sys.stderr)
    raise SystemExit(1 if chaos.findings.all or missed else 0)


def drawn(wanted: str, seed: int) -> list[str]:
    """The failpoints that `--points` asks for."""
    if wanted.isdecimal():
        return sorted(random.Random(seed).sample(all_points(), min(int(wanted), len(all_points()))))
    return all_points() if wanted == "all" else wanted.split(",")


if __name__ == "__main__":
    typer.run(main)
