"""`python -m tests.bench.playground --json`: the playground's engine beside `transformers serve` and a plain loop.

One run, the starter model, the same prompts and cores, greedy answers, in the number format that is fastest here;
rounds in turn, medians. Every prompt begins with another number, so that nobody answers from what was kept. The plain
loop is `generate` with a streamer, one prompt after the other. Side by side is base and adapter in one batch, against
the adapter alone. `transformers serve` is left out, and said so, where its parts are not installed.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from studio.core.engine_client import ChatOptions, EngineClient
from studio.core.machine import processor_name
from tests.waiting import wait_until

TOKENS = 48
LORE = (
    "A lighthouse keeper counts ships on a foggy morning. His sister mends nets and hums a song about winter. "
    "A letter arrives that was posted forty years ago, and the postman will not say where it lay. "
    "In the evening the lamp goes out, and somebody knocks at the door with a lantern made of green glass. "
)
STREAMS = 8
QUESTIONS = 3
"""One after the other in each round: a single answer here is up to a third slower than the next one."""
AIMS = {"first_token": 1.1, "one_stream": 0.95, "eight_streams": 2.5, "side_by_side": 1.7}
counter = itertools.count(1)
Answered = tuple[float, float, int]
"""Seconds to the first text, seconds to the last, tokens."""
Ask = Callable[[str], Answered]


def question() -> str:
    """About a hundred tokens that nobody has read yet, asking for a long answer."""
    number = next(counter)
    return f"{number * 7919}. {LORE}Tell a long story in which all of this happens, part {number}."


def timed(pieces: Iterator[tuple[str, int]]) -> Answered:
    """Read an answer: its pieces of text, and the number of tokens where it is known."""
    began, first, tokens = time.perf_counter(), 0.0, 0
    for text, known in pieces:
        if text and not first:
            first = time.perf_counter() - began
        tokens = known or tokens
    return first, time.perf_counter() - began, tokens


def ask_engine(client: EngineClient, model: str = "base") -> Ask:
    """Asks our engine."""

    def ask(text: str) -> Answered:
        options = ChatOptions(temperature=0, max_tokens=TOKENS)
        stream = client.stream_chat(model, [{"role": "user", "content": text}], options)
        return timed((piece.text, piece.usage.get("completion_tokens", 0)) for piece in stream)

    return ask


def ask_serve(url: str, model: Path) -> Ask:
    """Asks `transformers serve`."""

    def pieces(text: str) -> Iterator[tuple[str, int]]:
        body: dict[str, Any] = {"model": str(model), "messages": [{"role": "user", "content": text}], "stream": True}
        body |= {"max_tokens": TOKENS, "temperature": 0, "stream_options": {"include_usage": True}}
        body["generation_config"] = json.dumps({"do_sample": False, "max_new_tokens": TOKENS})
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=300) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    chunk = json.loads(line[6:])
                    delta = chunk["choices"][0]["delta"] if chunk.get("choices") else {}
                    yield delta.get("content") or "", (chunk.get("usage") or {}).get("completion_tokens", 0)

    return lambda text: timed(pieces(text))


class Plain:
    """A process with the plain loop, asked one line at a time."""

    def __init__(self, model: Path, dtype: str) -> None:
        """Waits until it has loaded."""
        command = [sys.executable, "-W", "ignore", "-m", "tests.bench.playground_child", str(model), dtype]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None and self._process.stdin is not None
        self._out, self._in = self._process.stdout, self._process.stdin
        self._out.readline()
        self._lock = threading.Lock()

    def ask(self, text: str) -> Answered:
        """One answer; a second one waits its turn."""
        with self._lock:
            self._in.write(json.dumps([text, TOKENS]) + "\n")
            self._in.flush()
            first, last, tokens = json.loads(self._out.readline())
            return first, last, tokens

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def process(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server for as long as it is needed; its output goes to ours."""
    running = subprocess.Popen(command, env={**os.environ, **environment}, stdout=sys.stderr, stderr=sys.stderr)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@contextmanager
def engine(model: Path, folder: Path) -> Iterator[EngineClient]:
    """Our engine, with an adapter attached."""
    socket = folder / "engine.sock"
    command = [sys.executable, "-m", "worker", "engine", str(model), str(socket)]
    with process(command, TUNESMITH_PARENT=str(os.getpid()), TUNESMITH_DATA_DIR=str(folder)):
        client = EngineClient(socket)
        wait_until(client.ready, 120)
        adapter = folder / "adapter"
        child = [sys.executable, "-W", "ignore", "-m", "tests.bench.playground_child", str(model), "adapter"]
        subprocess.run([*child, str(adapter)], check=True, stdout=sys.stderr)
        client.attach("tuned", adapter)
        yield client


def serves(url: str) -> bool:
    """Whether it answers."""
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def transformers_serve(model: Path, dtype: str) -> Iterator[Ask | None]:
    """`transformers serve` with the model loaded; None where its parts are missing."""
    probe = "from transformers.utils.import_utils import is_serve_available as a; raise SystemExit(not a())"
    if subprocess.run([sys.executable, "-c", probe], check=False, capture_output=True).returncode:
        yield None
        return
    url = "http://127.0.0.1:18765"
    tell = "from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", tell, "serve", str(model), "--port", "18765", "--host", "127.0.0.1"]
    with process([*command, "--dtype", dtype, "--device", "cpu"], HF_HUB_OFFLINE="1"):
        wait_until(lambda: serves(url), 120)
        yield ask_serve(url, model)


def together(asks: list[Ask]) -> dict[str, float]:
    """All at once: tokens a second in all, and the seconds until the last was there."""
    found: list[Answered] = []
    threads = [threading.Thread(target=lambda ask=ask: found.append(ask(question()))) for ask in asks]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    assert len(found) == len(asks)
    return {"tokens_per_s": sum(tokens for _, _, tokens in found) / seconds, "seconds": seconds}


def one_round(contenders: dict[str, Ask], client: EngineClient) -> dict[str, float]:
    """Each contender in turn."""
    told: dict[str, float] = {}
    answers: dict[str, list[Answered]] = {name: [] for name in contenders}
    for _ in range(QUESTIONS):
        for name, ask in contenders.items():
            answers[name].append(ask(question()))
    for name, found in answers.items():
        told[f"{name} first"] = statistics.median(first for first, _, _ in found)
        told[f"{name} one"] = statistics.median((tokens - 1) / (last - first) for first, last, tokens in found)
    for name, ask in contenders.items():
        told[f"{name} eight"] = together([ask] * STREAMS)["tokens_per_s"]
    text = question()
    told["alone"] = ask_engine(client, "tuned")(text)[1]
    began, text = time.perf_counter(), question()
    chats = [(name, [{"role": "user", "content": text}]) for name in ("base", "tuned")]
    pieces = list(client.stream_both(chats, ChatOptions(temperature=0, max_tokens=TOKENS)))
    assert all(piece.usage["completion_tokens"] == TOKENS for _, piece in pieces if piece.done), "it ended early"
    told["both"] = time.perf_counter() - began
    sys.stderr.write(json.dumps({name: round(value, 3) for name, value in told.items()}) + "\n")
    return told


def measure(model: Path, rounds: int) -> dict[str, Any]:
    """All rounds, and how the medians compare."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = stack.enter_context(engine(model, folder))
        dtype = (client.health() or {})["dtype"]
        plain = Plain(model, dtype)
        stack.callback(plain.end)
        contenders: dict[str, Ask] = {"engine": ask_engine(client), "plain": plain.ask}
        serve = stack.enter_context(transformers_serve(model, dtype))
        if serve is not None:
            contenders["serve"] = serve
        for name, ask in contenders.items():
            sys.stderr.write(f"{name}: {ask(question())}\n")
        client_rounds = [one_round(contenders, client) for _ in range(rounds)]
    medians = {name: statistics.median(one[name] for one in client_rounds) for name in client_rounds[0]}
    others = [name for name in contenders if name != "engine"]
    ratios = {
        "first_token": medians["engine first"] / min(medians[f"{name} first"] for name in others),
        "one_stream": medians["engine one"] / max(medians[f"{name} one"] for name in others),
        "eight_streams": medians["engine eight"] / medians["plain eight"],
        "side_by_side": medians["both"] / medians["alone"],
    }
    lower = ("first_token", "side_by_side")
    reached = {name: ratios[name] <= AIMS[name] if name in lower else ratios[name] >= AIMS[name] for name in AIMS}
    return {
        "processor": processor_name(),
        "dtype": dtype,
        "rounds": rounds,
        "contenders": list(contenders),
        "medians": {name: round(value, 3) for name, value in medians.items()},
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "aims": AIMS,
        "reached": reached,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object (it always does)")
    parser.add_argument("--model", type=Path, help="a model folder; else the starter model of the data dir")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the engine has it; for all, or others on the cores spoil it
    data = Path(os.environ.get("TUNESMITH_DATA_DIR", tempfile.gettempdir() + "/bench-data"))
    result = measure(asked.model or data / "models" / "starter", asked.rounds)
    sys.stdout.write(json.dumps(result) + "\n")
    raise SystemExit(0 if all(result["reached"].values()) else 1)


if __name__ == "__main__":
    main()
